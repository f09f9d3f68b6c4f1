"""Where Kafka is and who we are to it, from the environment."""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple, Self

import msgspec

from projections.errors import OperatorError

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
KAFKA_PYTHON, LIBRDKAFKA = CLIENTS = ("kafka-python", "librdkafka")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class KafkaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where Kafka is and who we are to it; `bootstrap_servers` is `host:port`, several divided by commas."""

    bootstrap_servers: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = None
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_password: str | None = None
    ssl_check_hostname: bool = True
    client: str | None = None
    """Which of CLIENTS; None: librdkafka where it is installed."""

    def __repr__(self) -> str:  # the passwords stay out of logs
        return f"KafkaSettings({self.bootstrap_servers!r}, {self.security_protocol})"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self | None:
        """Read KAFKA_BOOTSTRAP_SERVERS, _SECURITY_PROTOCOL, _SASL_*, _SSL_*, _CLIENT; None without the first.

        Raises OperatorError for values that can't be meant.
        """
        given = {name: environment.get(f"KAFKA_{name.upper()}", "").strip() for name in cls.__struct_fields__}
        if not given["bootstrap_servers"]:
            return None
        given["security_protocol"] = given["security_protocol"].upper()
        given["sasl_mechanism"] = given["sasl_mechanism"].upper()
        given["client"] = given["client"].lower()
        check_hostname = _yes("KAFKA_SSL_CHECK_HOSTNAME", given.pop("ssl_check_hostname") or "true")
        settings = cls(**{name: text for name, text in given.items() if text}, ssl_check_hostname=check_hostname)
        settings.check()
        return settings

    def check(self) -> None:
        """Raise OperatorError where a value can't be meant: client, protocol, mechanism, addresses, names of files."""
        if self.client is not None:
            _one_of("KAFKA_CLIENT", self.client, CLIENTS)
            if self.client == LIBRDKAFKA and not librdkafka_is_installed():
                raise OperatorError(
                    "KAFKA_CLIENT=librdkafka: the package confluent-kafka can't be imported: "
                    "pip install '.[librdkafka]', or set KAFKA_CLIENT=kafka-python"
                )
        _one_of("KAFKA_SECURITY_PROTOCOL", self.security_protocol, PROTOCOLS)
        addresses(self.bootstrap_servers)
        if self.security_protocol.startswith("SASL"):
            _one_of("KAFKA_SASL_MECHANISM", self.sasl_mechanism, MECHANISMS)
            if not (self.sasl_username and self.sasl_password):
                raise OperatorError(
                    f"KAFKA_SECURITY_PROTOCOL={self.security_protocol} needs "
                    "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD: set both"
                )
        elif self.sasl_username or self.sasl_password:  # they would not be used, and all would go in the clear
            raise OperatorError(
                "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD need KAFKA_SECURITY_PROTOCOL=SASL_SSL or SASL_PLAINTEXT: "
                f"it is {self.security_protocol}"
            )
        for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
            path = getattr(self, name)
            if path is not None and not os.path.isfile(path):  # noqa: PTH113  pathlib raises where a folder is closed
                raise OperatorError(f"KAFKA_{name.upper()}={path}: there is no such file that can be read; correct it")

    @property
    def chosen_client(self) -> str:
        """The one of CLIENTS that is to be used."""
        return self.client or (LIBRDKAFKA if librdkafka_is_installed() else KAFKA_PYTHON)

    def options(self) -> dict[str, Any]:
        """Give the same as arguments of kafka-python's clients."""
        options: dict[str, Any] = {
            "bootstrap_servers": [server.strip() for server in self.bootstrap_servers.split(",") if server.strip()],
            "security_protocol": self.security_protocol,
            "reconnect_backoff_max_ms": 2000,  # its half minute would be felt after each restart of a broker
        }
        if self.security_protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self.sasl_password
        if self.security_protocol.endswith("SSL"):
            names = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_check_hostname")
            options |= {name: getattr(self, name) for name in names}
        return options

    def librdkafka_options(self) -> dict[str, str]:
        """Give the same in librdkafka's names."""
        options: dict[str, str | None] = {
            "bootstrap.servers": ",".join(self.options()["bootstrap_servers"]),
            "security.protocol": self.security_protocol.lower(),
        }
        if self.security_protocol.startswith("SASL"):
            options["sasl.mechanism"] = self.sasl_mechanism
            options["sasl.username"] = self.sasl_username
            options["sasl.password"] = self.sasl_password
        if self.security_protocol.endswith("SSL"):
            options["ssl.ca.location"] = self.ssl_cafile or "probe"  # its own OpenSSL knows no folder of this system
            options["ssl.certificate.location"] = self.ssl_certfile
            options["ssl.key.location"] = self.ssl_keyfile or self.ssl_certfile  # one file may hold both
            options["ssl.key.password"] = self.ssl_password
            options["ssl.endpoint.identification.algorithm"] = "https" if self.ssl_check_hostname else "none"
        return {name: value for name, value in options.items() if value is not None}


@cache
def librdkafka_is_installed() -> bool:
    """Whether the package of the second client can be imported."""
    try:
        import confluent_kafka  # noqa: F401, PLC0415 - optional
    except ImportError:
        return False
    return True


class Address(NamedTuple):
    """One server of KAFKA_BOOTSTRAP_SERVERS."""

    host: str
    port: int


def addresses(servers: str) -> list[Address]:
    """Read `host:port,host:port`.

    >>> addresses("a:9092, [::1]:9093")
    [Address(host='a', port=9092), Address(host='::1', port=9093)]
    """
    if "@" in servers:  # what may be a password is not repeated
        raise OperatorError(
            "KAFKA_BOOTSTRAP_SERVERS names a user: say host:port, and set KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
        )
    found = [_address(text.strip(), servers) for text in servers.split(",") if text.strip()]
    if not found:
        raise OperatorError(f"KAFKA_BOOTSTRAP_SERVERS={servers!r} names no server: say host:port")
    return found


def _address(text: str, servers: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or "/" in text or not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise OperatorError(f"KAFKA_BOOTSTRAP_SERVERS={servers}: {text!r} is not host:port, without a scheme or a path")
    return Address(host.strip("[]"), int(port))


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise OperatorError(f"{name}={value}: say one of {', '.join(allowed)}")


def _yes(name: str, text: str) -> bool:
    _one_of(name, text.lower(), ("true", "false", "1", "0", "yes", "no"))
    return text.lower() in ("true", "1", "yes")

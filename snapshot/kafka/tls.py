"""Why TLS with a broker comes to nothing: kafka-python tries again until its time is over, and doesn't say."""

import socket
import ssl

from snapshot.kafka.settings import KafkaSettings, addresses

_SECONDS = 5.0
_ALERT_SECONDS = 1.0


def fault(settings: KafkaSettings) -> str | None:
    """What is wrong between the brokers' certificates and ours, and what to correct; None where nothing was found."""
    if not settings.security_protocol.endswith("SSL"):
        return None
    try:
        context = _context(settings)
    except OSError as error:  # ssl's own errors are such too
        return (
            f"a file of certificates or its key can't be used ({error}): correct KAFKA_SSL_CAFILE, KAFKA_SSL_CERTFILE, "
            "KAFKA_SSL_KEYFILE or KAFKA_SSL_PASSWORD"
        )
    for host, port in addresses(settings.bootstrap_servers):
        try:
            return _refusal(settings, context, f"{host}:{port}", (host, port))
        except OSError:
            continue  # this one can't be reached; perhaps the next one can
    return None


def _refusal(settings: KafkaSettings, context: ssl.SSLContext, broker: str, address: tuple[str, int]) -> str | None:
    try:
        _shake_hands(context, *address)
    except ssl.SSLCertVerificationError as error:
        return (
            f"the certificate of {broker} is not accepted ({error.verify_message}): correct "
            "KAFKA_SSL_CAFILE, or KAFKA_SSL_CHECK_HOSTNAME where it names another host"
        )
    except ssl.SSLError as error:
        if "ALERT" in (error.reason or ""):
            return (
                f"{broker} does not accept our certificate ({error.reason}): correct KAFKA_SSL_CERTFILE and "
                "KAFKA_SSL_KEYFILE"
            )
        return f"{broker} does not speak TLS: correct KAFKA_SECURITY_PROTOCOL={settings.security_protocol}"
    return None


def _context(settings: KafkaSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ssl_cafile)
    context.check_hostname = settings.ssl_check_hostname
    if settings.ssl_certfile is not None:
        # Without a password for a key that has one, OpenSSL would ask for it on the terminal.
        context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile, settings.ssl_password or "")
    return context


def _shake_hands(context: ssl.SSLContext, host: str, port: int) -> None:
    with (
        socket.create_connection((host, port), _SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        secured.settimeout(_ALERT_SECONDS)  # since TLS 1.3 a broker refuses our certificate after the handshake
        secured.recv(1)

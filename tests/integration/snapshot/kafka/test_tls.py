"""Kafka behind TLS: with a password, and with a client's certificate."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from kafka import KafkaAdminClient
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion

from projections.errors import OperatorError
from snapshot.kafka.messages import Message
from snapshot.kafka.producer import Producer
from snapshot.kafka.settings import KafkaSettings
from support import services
from support.process import free_port

USER, PASSWORD = "daemon", "right"

# kafka-python leaves the sockets of failed handshakes to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Guarded(NamedTuple):
    """Where the broker listens, and the folder of the files that a client needs."""

    by_password: str
    by_certificate: str
    folder: Path
    client: str | None = None

    def with_password(self, password: str = PASSWORD) -> KafkaSettings:
        return KafkaSettings(
            bootstrap_servers=self.by_password,
            security_protocol="SASL_SSL",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_username=USER,
            sasl_password=password,
            ssl_cafile=str(self.folder / "ca.pem"),
            client=self.client,
        )

    def with_certificate(self) -> KafkaSettings:
        return KafkaSettings(
            bootstrap_servers=self.by_certificate,
            security_protocol="SSL",
            ssl_cafile=str(self.folder / "ca.pem"),
            client=self.client,
            ssl_certfile=str(self.folder / "client.pem"),
        )


@pytest.fixture
def guarded(guarded_broker: Guarded, kafka_client: str) -> Guarded:
    """The broker, as one of the clients sees it."""
    return guarded_broker._replace(client=kafka_client)


@pytest.fixture(scope="module")
def guarded_broker(short_folder: Callable[[str], Path]) -> Iterator[Guarded]:
    """A broker with a certificate for 127.0.0.1: one port asks for SCRAM, the other for a client's certificate."""
    folder = short_folder("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "other-ca.pem"))
    _write(folder / "broker.pem", authority.issue_cert("127.0.0.1"))
    _write(folder / "client.pem", authority.issue_cert("daemon@example.org"))
    found = Guarded(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", folder)
    settings = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "broker.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(folder / "ca.pem"),
        "listener.name.ssl.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
    }
    listeners = {"SASL_SSL": found.by_password, "SSL": found.by_certificate}
    broker = services.native_kafka(folder, settings, listeners)
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap) as admin:
        credential = UserScramCredentialUpsertion(USER, ScramMechanism.SCRAM_SHA_512, PASSWORD)
        assert admin.alter_user_scram_credentials([credential]) == {USER: None}
        admin.create_topics({"t": {"num_partitions": 1}}, wait_for_metadata=True)
    yield found
    broker.close()


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What kafka-python left is collected here, not in another test."""
    yield
    gc.collect()


def _write(place: Path, leaf: trustme.LeafCert) -> None:
    """Key and certificate in one file; Kafka wants the key as PKCS #8."""
    key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    place.write_bytes(text + b"".join(blob.bytes() for blob in leaf.cert_chain_pems))


def works(settings: KafkaSettings) -> bool:
    producer = Producer(settings, delivery_timeout=10)
    try:
        return producer.send([Message("t", b"k", b"v", [])]) == [None]
    finally:
        producer.close()


def refusal(settings: KafkaSettings) -> str:
    with pytest.raises(OperatorError) as caught:
        Producer(settings, delivery_timeout=5)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_user_with_a_password_behind_tls(guarded: Guarded) -> None:
    assert works(guarded.with_password())


def test_a_client_with_a_certificate(guarded: Guarded) -> None:
    assert works(guarded.with_certificate())


def test_a_wrong_password_behind_tls(guarded: Guarded) -> None:
    # kafka-python 3.0.12 misses most refusals behind TLS: the connection's end, which comes with them, is seen first.
    for _ in range(10):
        text = refusal(guarded.with_password("wrong"))
        if "doesn't answer" not in text:
            break
    assert f"refuses the user '{USER}'" in text


def test_an_authority_that_did_not_sign_the_brokers_certificate(guarded: Guarded) -> None:
    text = refusal(msgspec.structs.replace(guarded.with_password(), ssl_cafile=str(guarded.folder / "other-ca.pem")))
    assert f"certificate of {guarded.by_password} is not accepted" in text
    assert "KAFKA_SSL_CAFILE" in text


def test_no_certificate_where_one_is_asked_for(guarded: Guarded) -> None:
    assert "KAFKA_SSL_CERTFILE" in refusal(msgspec.structs.replace(guarded.with_certificate(), ssl_certfile=None))


def test_a_host_that_the_certificate_does_not_name(guarded: Guarded) -> None:
    servers = guarded.by_password.replace("127.0.0.1", "localhost")
    text = refusal(msgspec.structs.replace(guarded.with_password(), bootstrap_servers=servers))
    assert "KAFKA_SSL_CHECK_HOSTNAME" in text


def test_tls_where_the_broker_has_none(guarded: Guarded, fresh_kafka: str) -> None:
    text = refusal(msgspec.structs.replace(guarded.with_password(), bootstrap_servers=fresh_kafka))
    assert f"{fresh_kafka} does not speak TLS" in text


def test_no_tls_where_the_broker_wants_it(guarded: Guarded) -> None:
    text = refusal(KafkaSettings(bootstrap_servers=guarded.by_certificate, client=guarded.client))
    assert "KAFKA_SECURITY_PROTOCOL=PLAINTEXT" in text

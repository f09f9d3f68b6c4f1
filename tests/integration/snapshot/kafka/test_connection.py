"""The message where Kafka can't be reached."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer

from projections.errors import OperatorError
from snapshot.kafka.kafka_python.client import connect, quieten
from snapshot.kafka.messages import Message
from snapshot.kafka.producer import Producer
from snapshot.kafka.settings import KafkaSettings
from support import services
from support.process import free_port

JAAS = "org.apache.kafka.common.security.plain.PlainLoginModule required"


@pytest.fixture(scope="module")
def guarded_kafka(short_folder: Callable[[str], Path]) -> Iterator[str]:
    """A broker that asks for a user and a password: `daemon`, `right`."""
    guarded = f"127.0.0.1:{free_port()}"
    settings = {
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{JAAS} user_daemon="right";',
    }
    broker = services.native_kafka(short_folder("guarded"), settings, {"SASL_PLAINTEXT": guarded})
    yield guarded
    broker.close()


def sasl(servers: str, password: str) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=servers,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="daemon",
        sasl_password=password,
    )


def message_of(settings: KafkaSettings, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> str:
    """The error's text; nothing else may be said, and no thread left."""
    threads = threading.active_count()
    with pytest.raises(OperatorError) as caught:
        connect(KafkaConsumer, settings)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
    assert threading.active_count() == threads
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nobody_listens(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    servers = f"127.0.0.1:{free_port()}"
    text = message_of(KafkaSettings(bootstrap_servers=servers), caplog, capfd)
    assert text == (
        f"Kafka can't be reached ({servers}: Connection refused): start it, or correct "
        f"KAFKA_BOOTSTRAP_SERVERS={servers}"
    )


def test_a_host_that_does_not_exist(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    assert "kafka.invalid:9092" in message_of(KafkaSettings(bootstrap_servers="kafka.invalid:9092"), caplog, capfd)


def test_a_server_that_never_answers_a_tls_handshake(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        servers = f"127.0.0.1:{silent.getsockname()[1]}"
        text = message_of(KafkaSettings(bootstrap_servers=servers, security_protocol="SSL"), caplog, capfd)
    assert f"KAFKA_BOOTSTRAP_SERVERS={servers} is open but doesn't answer as Kafka" in text


def test_a_server_that_is_no_kafka(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        servers = f"127.0.0.1:{silent.getsockname()[1]}"
        text = message_of(KafkaSettings(bootstrap_servers=servers), caplog, capfd)
    assert f"KAFKA_BOOTSTRAP_SERVERS={servers} is open but doesn't answer as Kafka" in text


def test_a_wrong_password(
    guarded_kafka: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    text = message_of(sasl(guarded_kafka, "wrong"), caplog, capfd)
    for _ in range(5):  # a broker on a busy machine may take longer to refuse than is waited for
        if "doesn't answer" not in text:
            break
        text = message_of(sasl(guarded_kafka, "wrong"), caplog, capfd)
    else:
        pytest.skip("this machine is too busy: the broker took longer to refuse than is waited for, five times")
    assert text.startswith(f"Kafka at {guarded_kafka} refuses the user 'daemon': correct KAFKA_SASL_USERNAME")


def test_the_right_password(guarded_kafka: str) -> None:
    client = connect(KafkaAdminClient, sasl(guarded_kafka, "right"))
    client.create_topics({"t": {"num_partitions": 1}}, wait_for_metadata=True)
    client.close()
    producer = Producer(sasl(guarded_kafka, "right"), delivery_timeout=10)
    assert producer.send([Message("t", b"k", b"v", [])]) == [None]
    producer.close()


def test_a_password_where_none_is_asked(
    fresh_kafka: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    text = message_of(sasl(fresh_kafka, "right"), caplog, capfd)
    assert fresh_kafka in text
    assert "SASL" in text


def test_kafka_pythons_errors_become_one_warning_of_one_line_each(caplog: pytest.LogCaptureFixture) -> None:
    quieten()
    for _ in range(50):
        logging.getLogger("kafka.net.test").error("Connection failed: %s", "gone\nwith more", exc_info=OSError("gone"))
    ours = [record for record in caplog.records if record.name.startswith("snapshot")]
    assert [record.getMessage() for record in ours] == ["kafka-python: Connection failed: gone"]
    assert not ours[0].exc_info

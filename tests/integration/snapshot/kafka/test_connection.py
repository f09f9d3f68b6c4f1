"""The message where Kafka can't be reached."""

import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from consumer.kafka.topics import ensure_topics
from projections.errors import OperatorError, UnreachableError
from snapshot.kafka.kafka_python.client import connect, quieten
from snapshot.kafka.messages import Message
from snapshot.kafka.producer import Producer
from snapshot.kafka.settings import KafkaSettings
from support import services
from support.process import free_port

_WAITED_FOR = re.compile(r"refused|name resolution|not known|doesn't answer as Kafka")
"""Nothing tells what is none from what is not there yet, or hangs: who is asked to wait does."""
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


@pytest.fixture
def refusal(
    kafka_client: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Callable[[KafkaSettings], str]:
    """Gives the error's text; nothing else may be said, and no thread left."""

    def text_of(settings: KafkaSettings) -> str:
        there = set(threading.enumerate())  # a client of another test may still be on its way out, and say so
        with pytest.raises(OperatorError) as caught:
            Producer(msgspec.structs.replace(settings, client=kafka_client), delivery_timeout=10)
        others = {one.ident for one in there} - {threading.get_ident()}
        said = [one for one in caplog.records if one.thread not in others]
        assert not [one for one in said if not one.name.startswith("kafka.")], (
            "what kafka-python logs is passed on to nobody"
        )
        assert capfd.readouterr() == ("", "")
        assert set(threading.enumerate()) <= there
        assert "\n" not in str(caught.value)
        assert isinstance(caught.value, UnreachableError) == bool(_WAITED_FOR.search(str(caught.value)))
        return str(caught.value)

    return text_of


Refusal = Callable[[KafkaSettings], str]


def sasl(servers: str, password: str) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=servers,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="daemon",
        sasl_password=password,
    )


def test_nobody_listens(refusal: Refusal) -> None:
    servers = f"127.0.0.1:{free_port()}"
    text = refusal(KafkaSettings(bootstrap_servers=servers))
    assert text == (
        f"Kafka can't be reached ({servers}: Connection refused): start it, or correct "
        f"KAFKA_BOOTSTRAP_SERVERS={servers}"
    )


def test_a_host_that_does_not_exist(refusal: Refusal) -> None:
    assert "kafka.invalid:9092" in refusal(KafkaSettings(bootstrap_servers="kafka.invalid:9092"))


def test_a_server_that_never_answers_a_tls_handshake(refusal: Refusal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        servers = f"127.0.0.1:{silent.getsockname()[1]}"
        text = refusal(KafkaSettings(bootstrap_servers=servers, security_protocol="SSL"))
    assert f"KAFKA_BOOTSTRAP_SERVERS={servers} is open but doesn't answer as Kafka" in text


def test_a_server_that_is_no_kafka(refusal: Refusal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        servers = f"127.0.0.1:{silent.getsockname()[1]}"
        text = refusal(KafkaSettings(bootstrap_servers=servers))
    assert f"KAFKA_BOOTSTRAP_SERVERS={servers} is open but doesn't answer as Kafka" in text


def test_a_wrong_password(guarded_kafka: str, refusal: Refusal) -> None:
    text = refusal(sasl(guarded_kafka, "wrong"))
    for _ in range(5):  # a broker on a busy machine may take longer to refuse than is waited for
        if "doesn't answer" not in text:
            break
        text = refusal(sasl(guarded_kafka, "wrong"))
    else:
        pytest.skip("this machine is too busy: the broker took longer to refuse than is waited for, five times")
    assert text.startswith(f"Kafka at {guarded_kafka} refuses the user 'daemon': correct KAFKA_SASL_USERNAME")


def test_the_right_password(guarded_kafka: str, kafka_client: str) -> None:
    settings = msgspec.structs.replace(sasl(guarded_kafka, "right"), client=kafka_client)
    ensure_topics(settings)
    producer = Producer(settings, delivery_timeout=10)
    assert producer.send([Message("snapshot-changed", b"k", b"v", [])]) == [None]
    producer.close()


def test_a_password_where_none_is_asked(fresh_kafka: str, refusal: Refusal) -> None:
    text = refusal(sasl(fresh_kafka, "right"))
    assert fresh_kafka in text
    assert "SASL" in text


def test_kafka_pythons_errors_become_one_warning_of_one_line_each(caplog: pytest.LogCaptureFixture) -> None:
    quieten()
    for _ in range(50):
        logging.getLogger("kafka.net.test").error("Connection failed: %s", "gone\nwith more", exc_info=OSError("gone"))
    ours = [record for record in caplog.records if record.name.startswith("snapshot")]
    assert [record.getMessage() for record in ours] == ["kafka-python: Connection failed: gone"]
    assert not ours[0].exc_info


def test_two_threads_that_connect_at_once_leave_the_log_as_it_was() -> None:
    quieten()
    before = logging.getLogger("kafka").handlers[:]
    first_is_in, second_is_in, first_is_out = threading.Event(), threading.Event(), threading.Event()

    def first(**_options: object) -> None:
        first_is_in.set()
        assert second_is_in.wait(10)

    def second(**_options: object) -> None:
        second_is_in.set()
        assert first_is_out.wait(10)

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(2) as pool:
        settings = KafkaSettings(bootstrap_servers=f"127.0.0.1:{server.getsockname()[1]}")
        one = pool.submit(connect, first, settings)
        assert first_is_in.wait(10)
        other = pool.submit(connect, second, settings)
        one.result(10)
        first_is_out.set()
        other.result(10)
    assert logging.getLogger("kafka").handlers == before, (
        "a list that collects errors would grow as long as Kafka is away"
    )

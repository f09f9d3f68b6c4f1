"""Sending by a producer that a slow broker holds up, and ending it."""

import gc
from typing import Any

import pytest
from kafka import errors

from snapshot.kafka.kafka_python.producer import close
from snapshot.kafka.messages import DeliveryError, Message
from snapshot.kafka.producer import Producer
from snapshot.kafka.settings import KAFKA_PYTHON, KafkaSettings


class Sender:
    forced = False

    def force_close(self) -> None:
        self.forced = True


class Slow:
    """kafka-python's producer while the broker stands still: closing it flushes, and that raises."""

    def __init__(self, error: BaseException) -> None:
        self._sender = Sender()
        self._closed = False
        self._error = error

    def close(self, timeout: float) -> None:  # noqa: ARG002 - kafka-python's signature
        if not self._closed:
            raise self._error

    def __del__(self) -> None:
        self.close(timeout=1)


@pytest.mark.parametrize("error", [errors.KafkaTimeoutError("flush"), RuntimeError("cannot join"), OSError("gone")])
def test_a_producer_that_can_not_be_closed_is_closed_by_force_and_raises_nothing_later(error: Exception) -> None:
    client: Any = Slow(error)
    close(client, 0)
    assert client._sender.forced  # noqa: SLF001  its thread sends nothing of what was given up
    del client
    gc.collect()  # pytest makes an error of what `__del__` raises


class Paused(Slow):
    """Its broker went silent in the middle of a batch: of the messages that were sent, nothing is heard any more."""

    def __init__(self) -> None:
        super().__init__(errors.KafkaTimeoutError("flush"))
        self.clock = 0.0

    def send(self, *_message: object, **_options: object) -> "Paused":
        return self

    def get(self, timeout: float) -> None:
        self.clock += timeout
        raise errors.KafkaTimeoutError


def test_a_batch_of_which_nothing_is_heard_is_given_up_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Paused()
    monkeypatch.setattr("snapshot.kafka.kafka_python.producer.connect", lambda *_client, **_options: client)
    settings = KafkaSettings(bootstrap_servers="a:9092", client=KAFKA_PYTHON)
    producer = Producer(settings, delivery_timeout=2.5, clock=lambda: client.clock)
    outcomes = producer.send([Message("comment-created", b"7", b"{}", [])] * 1_000)
    assert [type(one) for one in outcomes] == [DeliveryError] * 1_000
    assert client.clock <= 3.5

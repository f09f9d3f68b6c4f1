"""Ending a producer that a slow broker holds up."""

import gc
from typing import Any

import pytest
from kafka import errors

from snapshot.kafka.producer import close


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

"""Producing with kafka-python."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from kafka import KafkaProducer, errors

from snapshot.kafka.connection import CLIENT_ID, one_line
from snapshot.kafka.kafka_python.client import connect
from snapshot.kafka.messages import MAX_REQUEST_BYTES, Deliveries, DeliveryError, Message, TooLargeError
from snapshot.kafka.settings import KafkaSettings

_log = logging.getLogger(__name__)
_TOO_LARGE = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)
_GRACE = 1.0
"""Seconds more than the client gives itself: its own reason says more than our time-out."""

OPTIONS: dict[str, Any] = {
    "client_id": CLIENT_ID,
    "acks": "all",
    "enable_idempotence": True,
    "retries": float("inf"),
    "max_in_flight_requests_per_connection": 5,
    "allow_auto_create_topics": True,
    "compression_type": None,
    "linger_ms": 5,
    "batch_size": 2**17,
    "max_request_size": MAX_REQUEST_BYTES,
    "metadata_max_age_ms": 60_000,
    "metrics_enabled": False,
}
"""Why these, and why the others are left as they are, says docs/operations/kafka.md."""


def close(client: KafkaProducer, seconds: float) -> None:
    """End a client of kafka-python, which is given up: it sends nothing later, and raises nothing, now or when deleted.

    kafka-python 3.0.12 flushes before it closes. Where a broker is slow, that raises KafkaTimeoutError, and the client
    stays open: its thread goes on sending, and its `__del__` raises once more.
    """
    try:
        client.close(timeout=seconds)
    except Exception as error:  # noqa: BLE001 - whatever it raises, no process may end because a server was slow
        _log.info("kafka-python: a producer was closed by force: %s", one_line(error))
        client._sender.force_close()  # noqa: SLF001 - see above
        client._closed = True  # noqa: SLF001


class KafkaPythonProducer:
    """`snapshot.kafka.messages.ProducerClient` over kafka-python."""

    def __init__(
        self, settings: KafkaSettings, delivery_timeout: float, clock: Callable[[], float], seconds: float
    ) -> None:
        self._timeout = delivery_timeout
        self._clock = clock
        milliseconds = round(delivery_timeout * 1000)
        self._client = connect(
            KafkaProducer,
            settings,
            seconds=seconds,
            **OPTIONS,
            delivery_timeout_ms=milliseconds,
            request_timeout_ms=milliseconds // 2,
            max_block_ms=milliseconds,
        )

    def send(self, messages: Sequence[Message], deadline: float) -> Deliveries:
        found = Deliveries()
        futures = [self._begin(message, deadline) for message in messages]
        for index, future in enumerate(futures):
            if (error := self._end(future, found, deadline)) is not None:
                found.failed[index] = error
        return found

    def close(self, seconds: float) -> None:
        close(self._client, seconds)

    def _begin(self, message: Message, deadline: float) -> Any:  # noqa: ANN401  no types there
        if self._clock() >= deadline:  # each send may block for the metadata of a broker that is unreachable
            return DeliveryError(f"not sent within {self._timeout:g} s")
        try:
            return self._client.send(
                message.topic, message.value, message.key, message.headers, timestamp_ms=message.timestamp
            )
        except (errors.KafkaError, ValueError, AssertionError) as error:
            return _delivery_error(error, local=not isinstance(error, errors.KafkaTimeoutError))

    def _end(self, future: Any, found: Deliveries, deadline: float) -> DeliveryError | None:  # noqa: ANN401  no types
        if isinstance(future, DeliveryError):
            return future
        try:
            # For all together, or a batch of which kafka-python ends nothing would wait a second for each message.
            acknowledged = future.get(timeout=max(0.0, deadline + _GRACE - self._clock()))
        except errors.KafkaError as error:
            return _delivery_error(error, local=False)
        found.acknowledge(acknowledged.topic, acknowledged.partition, acknowledged.offset + 1)
        return None


def _delivery_error(error: BaseException, *, local: bool) -> DeliveryError:
    kind = TooLargeError if isinstance(error, _TOO_LARGE) else DeliveryError
    return kind(one_line(repr(error)), local=local)

"""Sending messages to Kafka and knowing of each whether it arrived."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from kafka import KafkaProducer, errors

from projections.errors import OperatorError
from snapshot.kafka.client import MAX_MESSAGE_BYTES, connect, one_line
from snapshot.kafka.settings import KafkaSettings

_log = logging.getLogger(__name__)
_TOO_LARGE = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)
_GRACE = 1.0
"""Seconds more than the client gives itself: its own reason says more than our time-out."""


def too_large(outcome: BaseException | None) -> bool:
    """Whether a message was refused for its size: sending it again leads nowhere."""
    return isinstance(outcome, _TOO_LARGE)


class Message(NamedTuple):
    """One message; Kafka wants a key or a value. `timestamp` is in milliseconds since 1970, None for now."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp: int | None = None


OPTIONS: dict[str, Any] = {
    "client_id": "signal-identity-snapshotter",
    "acks": "all",
    "enable_idempotence": True,
    "retries": float("inf"),
    "max_in_flight_requests_per_connection": 5,
    "allow_auto_create_topics": True,
    "compression_type": None,
    "linger_ms": 5,
    "batch_size": 2**17,
    "max_request_size": MAX_MESSAGE_BYTES + 2**20,
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


class Producer:
    """Sends batches, all acknowledged by all replicas in sync, without doubles while a connection lasts.

    `delivery_timeout` (seconds, at least 1) bounds how long a batch is tried; `send` ends about a second later, also
    where it has to connect first. After a failure the client is closed, so that it can't send late what was given up,
    and what comes next begins with another. Connects with its making: OperatorError where Kafka can't be reached.
    """

    def __init__(
        self, settings: KafkaSettings, *, delivery_timeout: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.ends: dict[str, int] = {}
        """By partition (`topic/number`), the offset after the last message of ours that was acknowledged there."""
        self._settings = settings
        self._timeout = delivery_timeout
        self._clock = clock
        self._client: KafkaProducer | None = self._connect()

    def send(self, messages: Sequence[Message]) -> list[Exception | None]:
        """Send all, then wait for every acknowledgement; for each, in order, None or why it was not acknowledged."""
        return self._send(messages, self._clock() + self._timeout) if messages else []

    def close(self) -> None:
        """Close the connection; nothing is waiting to be sent."""
        self._drop(seconds=1)

    def _send(self, messages: Sequence[Message], deadline: float) -> list[Exception | None]:
        try:
            client = self._client = self._client or self._connect(seconds=self._timeout)
        except OperatorError as error:
            return [error] * len(messages)
        futures = [self._begin(client, message, deadline) for message in messages]
        outcomes = [self._end(future, deadline) for future in futures]
        refused = [
            index
            for index, (future, outcome) in enumerate(zip(futures, outcomes, strict=True))
            if outcome is not None and outcome is not future  # what `_begin` refused never left
        ]
        if refused or any(isinstance(future, errors.KafkaTimeoutError) for future in futures):
            self._drop(seconds=0)
        # kafka-python 3.0.12 ends an idempotent producer at a message that the broker finds too large, and gives that
        # reason to all others in flight (TransactionManager.classify_batch_error). Halving finds whose it is.
        doubtful = [index for index in refused if too_large(outcomes[index])]
        if len(doubtful) > 1 or (doubtful and len(messages) > 1):
            middle = (len(doubtful) + 1) // 2
            for half in (doubtful[:middle], doubtful[middle:]):
                again = self._send([messages[index] for index in half], deadline) if half else []
                for index, outcome in zip(half, again, strict=True):
                    outcomes[index] = outcome
        return outcomes

    def _drop(self, seconds: float) -> None:
        client, self._client = self._client, None
        if client is not None:
            close(client, seconds)

    def _connect(self, **limit: float) -> KafkaProducer:
        milliseconds = round(self._timeout * 1000)
        return connect(
            KafkaProducer,
            self._settings,
            **limit,
            **OPTIONS,
            delivery_timeout_ms=milliseconds,
            request_timeout_ms=milliseconds // 2,
            max_block_ms=milliseconds,
        )

    def _begin(self, client: KafkaProducer, message: Message, deadline: float) -> Any:  # noqa: ANN401  no types there
        if self._clock() >= deadline:  # each send may block for the metadata of a broker that is unreachable
            return errors.KafkaTimeoutError(f"not sent within {self._timeout:g} s")
        try:
            return client.send(
                message.topic, message.value, message.key, message.headers, timestamp_ms=message.timestamp
            )
        except (errors.KafkaError, ValueError, AssertionError) as error:
            return error

    def _end(self, future: Any, deadline: float) -> Exception | None:  # noqa: ANN401  kafka-python has no types
        if isinstance(future, Exception):
            return future
        try:
            # For all together, or a batch of which kafka-python ends nothing would wait a second for each message.
            acknowledged = future.get(timeout=max(0.0, deadline + _GRACE - self._clock()))
        except errors.KafkaError as error:
            found: Exception = error
            return found
        self._note(acknowledged.topic, f"{acknowledged.topic}/{acknowledged.partition}", acknowledged.offset + 1)
        return None

    def _note(self, topic: str, name: str, end: int) -> None:
        """Messages of a partition are acknowledged in their order, so a lower offset is that of a recreated topic."""
        if end <= 0:  # the broker had it already, and doesn't tell where
            return
        if end < self.ends.get(name, 0):
            for known in [known for known in self.ends if known.rpartition("/")[0] == topic]:
                del self.ends[known]
        self.ends[name] = end

"""Producing with librdkafka."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as SentMessage

from snapshot.kafka.librdkafka.client import connect, text_of
from snapshot.kafka.messages import MAX_REQUEST_BYTES, Deliveries, DeliveryError, Message, TooLargeError
from snapshot.kafka.settings import KafkaSettings

_TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)
_GRACE = 1.0
"""Seconds more than the client gives itself: it looks once a second for messages whose time is over."""
_POLL_SECONDS = 0.1

OPTIONS: dict[str, str | int | bool] = {
    "acks": "all",
    "enable.idempotence": True,
    # murmur2 as kafka-python has it; librdkafka's own default would put a key into another partition.
    "partitioner": "murmur2_random",
    "allow.auto.create.topics": True,
    "compression.type": "none",
    "linger.ms": 5,
    # As large as a partition's part of what is sent at once: librdkafka 2.16 spins while a rest waits for requests that
    # are in flight (with idempotence), and took up to 36 us of CPU a message with 2**17.
    "batch.size": 2**20,
    "message.max.bytes": MAX_REQUEST_BYTES,
}
"""Why these, and why the others are left as they are, says docs/operations/kafka.md."""


def times(delivery_timeout: float) -> dict[str, int]:
    """Give the options that depend on how many seconds a message is tried."""
    milliseconds = round(delivery_timeout * 1000)
    return {
        "message.timeout.ms": milliseconds,
        "request.timeout.ms": milliseconds // 2,
        "socket.timeout.ms": milliseconds // 2,
    }


class LibrdkafkaProducer:
    """`snapshot.kafka.messages.ProducerClient` over librdkafka."""

    def __init__(
        self, settings: KafkaSettings, delivery_timeout: float, clock: Callable[[], float], seconds: float
    ) -> None:
        self._timeout = delivery_timeout
        self._clock = clock
        self._client: Producer = connect(Producer, settings, OPTIONS | times(delivery_timeout), seconds=seconds)

    def send(self, messages: Sequence[Message], deadline: float) -> Deliveries:
        found = Deliveries()
        unknown = self._produce(messages, found)
        late = DeliveryError(f"not acknowledged within {self._timeout:g} s")
        while unknown and (left := deadline + _GRACE - self._clock()) > 0:
            try:
                self._client.poll(min(left, _POLL_SECONDS))
            except KafkaException as error:  # one that ends this client
                late = _delivery_error(error, local=False)
                break
        for index in unknown:
            found.failed[index] = late
        return found

    def _produce(self, messages: Sequence[Message], found: Deliveries) -> set[int]:
        """Hand all over; give the indices of those of which nothing was heard yet, and keep that up to date."""
        unknown = set(range(len(messages)))
        produce, deliver = self._client.produce, _deliverer(unknown, found)
        for index, (topic, key, value, headers, timestamp) in enumerate(messages):
            try:
                produce(
                    topic,
                    value,
                    key,
                    headers=headers,  # type: ignore[arg-type]  # it takes any list of pairs
                    timestamp=timestamp or 0,
                    on_delivery=partial(deliver, index),
                )
            except (KafkaException, BufferError, ValueError, TypeError) as error:
                found.failed[index] = _delivery_error(error, local=not isinstance(error, BufferError))
                unknown.discard(index)
        return unknown

    def close(self, seconds: float) -> None:
        with suppress(KafkaException):
            self._client.purge(blocking=False)
            self._client.flush(seconds)


def _deliverer(unknown: set[int], found: Deliveries) -> Callable[[int, KafkaError | None, SentMessage], None]:
    """What is called for each message; nothing is looked up twice, as this is a tenth of the relay's work."""
    heard, acknowledge = unknown.discard, found.acknowledge

    def deliver(index: int, error: KafkaError | None, sent: SentMessage) -> None:
        heard(index)
        if error is None:
            acknowledge(sent.topic() or "", sent.partition() or 0, (sent.offset() or 0) + 1)
        else:
            found.failed[index] = _delivery_error(KafkaException(error), local=False)

    return deliver


def _delivery_error(error: Exception, *, local: bool) -> DeliveryError:
    found = error.args[0] if error.args else None
    large = isinstance(found, KafkaError) and found.code() in _TOO_LARGE
    return (TooLargeError if large else DeliveryError)(text_of(error), local=local)

"""Sending messages to Kafka and knowing of each whether it arrived."""

import time
from collections.abc import Callable, Sequence

from projections.errors import OperatorError
from snapshot.kafka.clients import connect_producer
from snapshot.kafka.messages import Deliveries, DeliveryError, Message, ProducerClient, too_large
from snapshot.kafka.settings import KafkaSettings


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
        self._client: ProducerClient | None = self._connect(None)

    def send(self, messages: Sequence[Message]) -> list[DeliveryError | None]:
        """Send all, then wait for every acknowledgement; for each, in order, None or why it was not acknowledged."""
        return self._send(messages, self._clock() + self._timeout) if messages else []

    def close(self) -> None:
        """Close the connection; nothing is waiting to be sent."""
        self._drop(seconds=1)

    def _send(self, messages: Sequence[Message], deadline: float) -> list[DeliveryError | None]:
        try:
            client = self._client = self._client or self._connect(self._timeout)
        except OperatorError as error:
            return [DeliveryError(str(error))] * len(messages)
        deliveries = client.send(messages, deadline)
        self._note_ends(deliveries)
        outcomes: list[DeliveryError | None] = [None] * len(messages)
        for index, failure in deliveries.failed.items():
            outcomes[index] = failure
        refused = sorted(index for index, failure in deliveries.failed.items() if not failure.local)
        if refused:
            self._drop(seconds=0)
        # Both clients give the reason "too large" to others that were in flight with the one (kafka-python 3.0.12:
        # TransactionManager.classify_batch_error; librdkafka fails the batch as a whole). Halving finds whose it is.
        doubtful = [index for index in refused if too_large(outcomes[index])]
        if len(doubtful) > 1 or (doubtful and len(messages) > 1):
            middle = (len(doubtful) + 1) // 2
            for half in (doubtful[:middle], doubtful[middle:]):
                again = self._send([messages[index] for index in half], deadline) if half else []
                for index, outcome in zip(half, again, strict=True):
                    outcomes[index] = outcome
        return outcomes

    def _connect(self, seconds: float | None) -> ProducerClient:
        return connect_producer(self._settings, self._timeout, self._clock, seconds)

    def _drop(self, seconds: float) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close(seconds)

    def _note_ends(self, deliveries: Deliveries) -> None:
        """A lower offset than before is that of a recreated topic: nothing that was known of it holds any longer."""
        ends = {f"{topic}/{partition}": end for (topic, partition), end in deliveries.ends.items()}
        lower = {name.rpartition("/")[0] for name, end in ends.items() if end < self.ends.get(name, 0)}
        recreated = deliveries.recreated | lower
        for name in [name for name in self.ends if name.rpartition("/")[0] in recreated]:
            del self.ends[name]
        self.ends |= ends

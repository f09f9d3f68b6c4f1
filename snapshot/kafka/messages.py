"""What is sent to Kafka, what becomes of it, and what a client has to do for `snapshot.kafka.producer.Producer`."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

MAX_MESSAGE_BYTES = 16 * 2**20
"""The largest message of the event topics: a body of 5 MB fits even where JSON has to escape much of it."""
MAX_REQUEST_BYTES = MAX_MESSAGE_BYTES + 2**20
"""The largest that a producer lets pass: such a message and its frame."""


class Message(NamedTuple):
    """One message; Kafka wants a key or a value. `timestamp` is in milliseconds since 1970, None for now."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp: int | None = None


class DeliveryError(Exception):
    """A message was not acknowledged; the text says why. `local`: it was refused here, and nothing was sent."""

    def __init__(self, text: str, *, local: bool = False) -> None:
        super().__init__(text)
        self.local = local


class TooLargeError(DeliveryError):
    """The message, or the batch that it was in, is too large for the client, the broker or the topic."""


def too_large(outcome: BaseException | None) -> bool:
    """Whether a message was refused for its size: sending it again leads nowhere."""
    return isinstance(outcome, TooLargeError)


class Deliveries:
    """What became of a batch. `failed`: by index, why a message was not acknowledged; all others were.

    `ends`: by topic and partition, the offset after the last one that was acknowledged there. Those of a partition are
    acknowledged in their order, so a lower offset is that of a topic which was `recreated` meanwhile.
    """

    __slots__ = ("ends", "failed", "recreated")

    def __init__(self) -> None:
        self.failed: dict[int, DeliveryError] = {}
        self.ends: dict[tuple[str, int], int] = {}
        self.recreated: set[str] = set()

    def acknowledge(self, topic: str, partition: int, end: int) -> None:
        """Note a message; `end` is below 1 where the broker had it already, and doesn't tell where."""
        place = topic, partition
        if end < self.ends.get(place, 1):
            if end < 1:
                return
            self.recreated.add(topic)
            self.ends = {known: offset for known, offset in self.ends.items() if known[0] != topic}
        self.ends[place] = end


class ProducerClient(Protocol):
    """A client that is connected; used by one thread, and given up after a failure."""

    def send(self, messages: Sequence[Message], deadline: float) -> Deliveries:
        """Send all, and wait for each outcome; about a second after `deadline` (of its clock) all are given up."""
        ...

    def close(self, seconds: float) -> None:
        """End within about so many seconds: it sends nothing later, and raises nothing."""
        ...

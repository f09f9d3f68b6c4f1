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


class Acknowledged(NamedTuple):
    """Where a message is: its topic and partition, and the offset after it; 0 where the broker doesn't tell."""

    topic: str
    partition: int
    end: int


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


class ProducerClient(Protocol):
    """A client that is connected; used by one thread, and given up after a failure."""

    def send(self, messages: Sequence[Message], deadline: float) -> Sequence[Acknowledged | DeliveryError]:
        """Send all, and wait for each outcome; about a second after `deadline` (of its clock) all are given up."""
        ...

    def close(self, seconds: float) -> None:
        """End within about so many seconds: it sends nothing later, and raises nothing."""
        ...

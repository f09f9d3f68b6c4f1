"""What a dead letter is, and where dead letters are kept.

A crash between a dead letter and the commit after it repeats the dead letter; replaying one twice is harmless.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from consumer.source import Invalid


class DeadLetter(NamedTuple):
    """A message that is no event, as it is kept: when (UTC, ISO 8601), and its size where the value was cut."""

    message: Invalid
    time: str
    truncated: int | None = None

    @property
    def id(self) -> str:
        """Where the message came from, `topic/partition/offset`: the same however often it is kept."""
        return f"{self.message.topic}/{self.message.partition}/{self.message.offset}"


class DeadLetters(Protocol):
    """Where messages that are no events are put."""

    def send(self, invalid: Sequence[Invalid]) -> None:
        """Return only when all are safe; raise DeadLetterError otherwise, so that nothing is dropped silently."""
        ...


class KeptDeadLetters(Protocol):
    """The dead letters that are kept, for an operator. Raises OperatorError where the place can't be used."""

    def letters(self) -> Iterator[DeadLetter]:
        """All of them, the oldest of each partition first; one that was kept twice comes twice."""
        ...

    def drop(self, unwanted: Callable[[DeadLetter], bool]) -> int:
        """Remove some of those that are there now; how many that were. None of the others is lost."""
        ...


class DeadLetterError(Exception):
    """Dead letters could not be kept; the text says where and why. Retrying is right."""


def dead_topic(topic: str) -> str:
    """Name the topic for the dead letters of a topic."""
    return f"{topic}.dead"

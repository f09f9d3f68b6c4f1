"""What a client has to do besides consuming: look at topics, make them, read them whole, delete from them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from consumer.source import Invalid
from projections.errors import OperatorError, UnreachableError
from snapshot.kafka.settings import KafkaSettings

READ_SECONDS = 30.0
"""Without an answer for so long, reading is given up."""


class Topic(msgspec.Struct, frozen=True):
    """What a topic should be."""

    name: str
    partitions: int
    configuration: Mapping[str, str]


class Existing(NamedTuple):
    """How many partitions a topic has, and how many replicas the one with the fewest."""

    partitions: int
    replication: int


class Record(NamedTuple):
    """A message as it lies in its topic, and its time in milliseconds since 1970."""

    message: Invalid
    timestamp: int


class ClusterError(Exception):
    """Kafka did not do what was asked; the text says in one line what it or the client said."""


class UnansweredError(ClusterError):
    """Kafka gave no answer in time, or the connection broke."""


class TooFewBrokersError(ClusterError):
    """There are fewer brokers than a new topic is to have replicas."""


class Cluster(Protocol):
    """A connection for questions, used by one thread. Each method raises ClusterError."""

    def topics(self) -> Mapping[str, Existing]:
        """Describe all topics that we may see."""
        ...

    def create(self, topics: Sequence[Topic], replication: int | None) -> list[str]:
        """Create these, and name those that no other process created meanwhile; None: as many replicas as is usual."""
        ...

    def configurations(self, topics: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """Give the settings of topics that are there."""
        ...

    def starts(self, topics: Sequence[str]) -> Mapping[str, int]:
        """By partition, the offset of the first message that is kept."""
        ...

    def ends(self, topics: Sequence[str]) -> Mapping[str, int]:
        """By partition (`topic/number`), the offset after the last message."""
        ...

    def records(self, topics: Sequence[str]) -> Iterator[Record]:
        """Read all that these topics have now. Raises OperatorError where one is missing."""
        ...

    def between(self, starts: Mapping[str, int], ends: Mapping[str, int]) -> Iterator[Record]:
        """Read these partitions from an offset to before another; both name the same ones."""
        ...

    def delete_records(self, offsets: Mapping[str, int]) -> None:
        """Delete what lies below these offsets of partitions."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


def operator_error(text: str, error: ClusterError) -> OperatorError:
    """What a command ends with; waiting may help where Kafka did not answer."""
    return UnreachableError(text) if isinstance(error, UnansweredError) else OperatorError(text)


def no_topics(settings: KafkaSettings, missing: Sequence[str]) -> OperatorError:
    """Say which topics are missing, and how they are made."""
    return OperatorError(
        f"Kafka at {settings.bootstrap_servers} has no topic {' and no topic '.join(missing)}: "
        "create it with `snapshot-admin topics`"
    )


def split(name: str) -> tuple[str, int]:
    """Give topic and number of a partition's name.

    >>> split("comment-created/3")
    ('comment-created', 3)
    """
    topic, _, number = name.rpartition("/")
    return topic, int(number)

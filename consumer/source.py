"""Where events come from: one protocol for Kafka and for the database's tail in process.

A *partition* is named by a string (`comment-created/3`, or `tail/0` for the tail), a *position* is the number of the
next event to read there, an *interval* [start, end) the positions that a batch covers, whatever was between them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from projections.comments.events import Event

Intervals = Mapping[str, tuple[int, int]]


class Invalid(NamedTuple):
    """A message that is no event, with where it came from; it goes to the dead letters."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    error: str


class Batch(NamedTuple):
    """What one poll gave. Without anything new, all three are empty."""

    events: Sequence[Event]
    intervals: Intervals
    invalid: Sequence[Invalid]


EMPTY = Batch((), {}, ())


class Offsets(NamedTuple):
    """What a source knows of one assigned partition.

    `committed` is the position that this consumer's group last committed, None where it never did. `earliest` and
    `end` are the first position that can still be read and the one after the last. `topic_id` tells a recreated topic
    from the one before.
    """

    committed: int | None
    earliest: int
    end: int
    topic_id: str


class Assignment(NamedTuple):
    """The partitions that are this process' now. The generation grows with every change; 0: none assigned yet."""

    generation: int
    partitions: frozenset[str]


class SourceUnavailableError(Exception):
    """The source can't be reached at present; the text says which and what to do. Retrying is right."""


class OffsetOutOfRangeError(Exception):
    """Partitions whose positions the source no longer has (retention, a recreated topic, a log that lost its end).

    Raised by `poll`. Those `partitions` are paused until they are started again: from their `earliest` offset, and
    with a raised epoch, because events were missed. All others go on.
    """

    def __init__(self, positions: Mapping[str, int]) -> None:
        self.partitions = frozenset(positions)
        lost = ", ".join(f"{name} at {position}" for name, position in sorted(positions.items()))
        super().__init__(f"the source no longer has the position of {lost}")


class Source(Protocol):
    """One consumer's view of a source. Used by one thread.

    The sequence: `poll` until `assignment` has a new generation; ask for the `offsets`, decide where to start,
    `start(...)`. Partitions that were not started deliver nothing, so no event can come from a position that the
    caller did not choose. After a rewind, `start` again.
    """

    def poll(self, seconds: float) -> Batch:
        """Wait at most so long for the next batch. Must be called often, paused too: it keeps the membership."""
        ...

    def assignment(self) -> Assignment:
        """Which partitions are read; cheap."""
        ...

    def offsets(self, partitions: frozenset[str]) -> Mapping[str, Offsets]:
        """Look up the offsets of assigned partitions."""
        ...

    def start(self, generation: int, positions: Mapping[str, int]) -> None:
        """Deliver from these positions on; nothing happens if the generation is no longer the present one."""
        ...

    def pause(self) -> None:
        """Deliver nothing more; what a poll had already fetched is delivered after `resume`."""
        ...

    def resume(self) -> None:
        """Deliver again."""
        ...

    def commit(self, positions: Mapping[str, int]) -> None:
        """Record that everything below these positions is in the store."""
        ...

    def lag(self) -> Mapping[str, int]:
        """How many events wait in each partition, as last known; cheap."""
        ...

    @property
    def progress(self) -> object:
        """Changes whenever anything is read, delivered or not."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why nothing can be read at present, for the operator; None where nothing is in the way."""
        ...

    def exhausted(self) -> bool:
        """Whether everything that was there when this was first asked has been delivered."""
        ...

    def close(self) -> None:
        """Leave at once, so that others can take over."""
        ...

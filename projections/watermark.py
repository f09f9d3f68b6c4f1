"""How far the tail of the database has come: what tells lag from drift.

The tail's whole state is a document in the store (`document(TAIL)`), written under the lease of the same name.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import msgspec

from projections.decoding import DecodingError, JsonDecoder
from projections.errors import OperatorError
from projections.profile_key import ProfileKey, bucket_of
from projections.store.keys import document_key
from projections.store.protocol import Store

TAIL = "tail"
"""Name of the lease that the working tail holds, relay or embedded, and of its document."""


class Watermark(msgspec.Struct, kw_only=True):
    """The part of the tail's document that others read; unknown fields are the tail's own.

    Times are about microseconds of the database's clock, but never go back: they put the tail's polls in order.
    Everything committed before `polled_until` that polling sees, and everything at all committed before `swept_until`,
    has been handed on; consumers have it once they hold `positions` (partition -> position). No poll has begun later
    than `begun_until`.
    """

    polled_until: int = 0
    swept_until: int = 0
    begun_until: int = 0
    positions: Mapping[str, int] = {}


T = TypeVar("T", bound=Watermark)
_decode = JsonDecoder(Watermark).decode


def parse(document: bytes | None, decode: Callable[[bytes], T]) -> T | None:
    """Read the tail's document, or the part of it that is decoded. Raises OperatorError where it is damaged."""
    try:
        return None if document is None else decode(document)
    except DecodingError as error:
        raise OperatorError(
            f"the document {document_key(TAIL)} in the store is damaged ({error}): delete it, and the next start "
            "compares the store with the database again"
        ) from error


class Observation(NamedTuple):
    """How far the tail had come, and up to which positions each bucket had applied what it had published."""

    tail: Watermark | None
    positions: tuple[Mapping[str, int], ...]

    def passed(self, time: int) -> bool:
        """Whether the tail has seen everything that was committed before that time."""
        return self.tail is not None and min(self.tail.polled_until, self.tail.swept_until) > time


def time_of_reading(store: Store, clock: int) -> int:
    """Give what `Observation.passed` takes for rows that were just read: no poll has begun later.

    That is the database's `clock`, unless it was set back since the tail began its last poll.
    """
    tail = parse(store.document(TAIL), _decode)
    return clock if tail is None else max(clock, tail.begun_until)


def tail_is_running(store: Store) -> bool:
    """Whether anybody tails the database at present."""
    return store.leased(TAIL)


def observe(store: Store) -> Observation:
    """Look at the tail's document, then at the buckets' positions."""
    tail = parse(store.document(TAIL), _decode)
    states = store.bucket_states()
    positions = tuple({} if state is None else state.positions for state in states)
    return Observation(tail, positions)


def holds(positions: Mapping[str, int], reached: Mapping[str, int]) -> bool:
    """Whether a bucket at these positions holds everything below those."""
    return all(positions.get(partition, -1) >= position for partition, position in reached.items())


def covered(seen: Observation, key: ProfileKey, time: int) -> bool:
    """Whether the profile contained everything that was committed before that time."""
    reached = {} if seen.tail is None else seen.tail.positions
    return seen.passed(time) and holds(seen.positions[bucket_of(key.user_id)], reached)

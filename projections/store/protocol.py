"""The store: one protocol for the memory store and the Redis store. It knows no meaning; it keeps bytes under versions.

A profile is a version and a map of fields: `h` (head), `c<comment id>` (registers), `l<url>` and `t<label>`. A write
replaces the version by a random token that the writer chose, and demands the version that the writer had read; so a
write that arrives twice, or late, does nothing.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from projections.profile_key import ProfileKey

ABSENT = b""
"""The version of a profile that does not exist."""

HEAD = b"h"

BLOCK = 2**62
"""A revision floor from here on blocks its user, as no event reaches it; what is above says when they were blocked."""


def block_at(time: int) -> int:
    """The floor of a user who is blocked at this time: microseconds since 1970, by the database's clock."""
    return BLOCK + time


def is_block(floor: int | None) -> bool:
    """Whether a user with this revision floor is blocked."""
    return floor is not None and floor >= BLOCK


def time_of_block(floor: int) -> int:
    """When a user with this floor was blocked; 0 for a floor of before blocks had times."""
    return 0 if floor == 2**63 - 1 else floor - BLOCK


def farthest(debounce: float, lease: float) -> float:
    """How many seconds ahead a due time or a claim's end may lie. One beyond is from before the clock was set back."""
    return 10 * max(debounce, lease, 60.0)


class StoreUnavailableError(Exception):
    """The store can't be reached or can't write at present; retrying is right. The text says what to check."""


class EpochError(Exception):
    """A bucket is not in the epoch that the caller knows, or has no state: drop caches, read positions again."""

    def __init__(self, bucket: int, known: int, present: int | None) -> None:
        self.bucket, self.known, self.present = bucket, known, present
        super().__init__(f"bucket {bucket} is in epoch {present}, this process knew {known}")


class PositionGapError(Exception):
    """A bucket's stored position is lower than its writer had reached: the store lost writes. Nothing was written."""

    def __init__(self, bucket: int, partition: str, stored: int | None, demanded: int) -> None:
        self.bucket, self.partition, self.stored, self.demanded = bucket, partition, stored, demanded
        super().__init__(f"bucket {bucket} holds {partition} up to {stored}, but its writer had reached {demanded}")


class Loaded(NamedTuple):
    """What was read of a profile: its version and those of the named fields that exist."""

    version: bytes
    fields: Mapping[bytes, bytes]


class Write(msgspec.Struct, frozen=True):
    """One profile's change: done only if its version is still `expected`, and no-op if it is `token` already.

    It is a conflict, too, where the user has another revision floor than the writer knew. `floor` None: it brings no
    event, so the floor does not matter.
    """

    key: ProfileKey
    expected: bytes
    token: bytes
    sets: Mapping[bytes, bytes]
    deletes: Sequence[bytes]
    dirty: bool
    floor: int | None = 0


class Save(msgspec.Struct, frozen=True):
    """One bucket's writes, and the positions that they reach.

    `epoch` is what the writer knows, None where it does not matter (no positions). For each partition, an interval
    [start, end): the stored position must be at least `start` (else PositionGapError), and becomes `end` if that is
    higher and no write met a conflict.
    """

    bucket: int
    writes: Sequence[Write]
    epoch: int | None = None
    intervals: Mapping[str, tuple[int, int]] = {}


class InitialPositions(NamedTuple):
    """What a bucket starts with: positions of partitions, ids of topics, and the version of the rules of meaning."""

    positions: Mapping[str, int]
    topic_ids: Mapping[str, str]
    rules_version: str


class BucketState(msgspec.Struct, frozen=True):
    """A bucket's state. `recovery` is what has to be reached before its profiles are published again."""

    instance_id: str
    epoch: int
    rules_version: str
    writes: int
    positions: Mapping[str, int]
    topic_ids: Mapping[str, str]
    recovery: "RecoveryGoal | None"

    def reached(self, ends: Mapping[str, int]) -> bool:
        """Whether its positions are at all of these."""
        return all(self.positions.get(name, 0) >= end for name, end in ends.items())


class RecoveryGoal(msgspec.Struct, frozen=True):
    """What ends a bucket's recovery: positions reached and, with `reconcile`, its profiles reconciled."""

    ends: Mapping[str, int]
    reconcile: bool
    reason: str


def has_ended(block: int, floor: int) -> bool:
    """Whether a store that has this floor for a user has seen the end of that block: it is none, and later."""
    return not is_block(floor) and floor > time_of_block(block)


def reconciled(before: BucketState, now: BucketState) -> RecoveryGoal | None:
    """What is left of a recovery after all rows were reconciled, `before` being the state when that began.

    None where it is no matter of that, or where it did not count: events that were still to be read, and have been
    since, may have brought back comments whose rows are gone.
    """
    goal = before.recovery
    if (
        goal is None
        or (now.epoch, now.recovery) != (before.epoch, goal)
        or not goal.reconcile
        or not before.reached(goal.ends)
    ):
        return None
    return replace(goal, reconcile=False)


class Folder(NamedTuple):
    """A folder that snapshots are flushed to: its id (from the marker file) and its scope, None for all groups."""

    id: str
    group_slug: str | None


class Claim(NamedTuple):
    """A profile that only this flusher writes for a while.

    The settled hash is ignored where the claim is `forced`, or was `taken_over` when another flusher's ran out.
    """

    key: ProfileKey
    forced: bool
    taken_over: bool


class Announced(NamedTuple):
    """What was last announced of a profile: a hash (empty: that it has no snapshot), with its sequence.

    The sequence is 0 where the hash is only known from a file.
    """

    hash: str
    sequence: int


class FlushReading(NamedTuple):
    """What the flusher reads of a claimed profile, in one step.

    `settled` is the hash of the folder's file, empty where there is deliberately none; it and `announced` are None
    where the store does not know. `sequence` is new and higher than any earlier one.
    """

    version: bytes
    head: bytes | None
    settled: str | None
    announced: Announced | None
    sequence: int


class Published(IntEnum):
    """How far the flush of a profile came: what others may have seen of it."""

    NOTHING = 0
    FILE = 1
    ANNOUNCEMENT = 2


class Settlement(NamedTuple):
    """How the flush of one claim ended: what was read, the hash of the file by now, and what was published."""

    claim: Claim
    reading: FlushReading
    hash: str
    published: Published


class Description(NamedTuple):
    """What a process says of itself, and when (microseconds of the store's clock)."""

    time: int
    value: bytes


class Store(Protocol):
    """Profiles, positions, due times, claims and leases. Any method may raise StoreUnavailableError.

    May be used by several threads.
    """

    def check(self) -> None:
        """Refuse a store that would lose data or can't be used: raises OperatorError with the fix."""
        ...

    def clock(self) -> int:
        """The store's clock, in microseconds since 1970: the one for leases, due times and sequences."""
        ...

    # -- profiles ------------------------------------------------------------------------------------------------

    def load(self, names: Mapping[ProfileKey, Collection[bytes]]) -> dict[ProfileKey, Loaded]:
        """Read fields of many profiles, each with its version in one step."""
        ...

    def save(self, saves: Sequence[Save]) -> list[list[ProfileKey]]:
        """Do the writes; for each save, the profiles that had another version than expected and were not written.

        Raises EpochError or PositionGapError; the other saves of the call may have been done.
        """
        ...

    def scan(self, key: ProfileKey) -> Iterator[tuple[bytes, bytes]]:
        """All fields of a profile but the version. A field that is there all the while is given at least once."""
        ...

    def profiles(self, first_user: int, last_user: int) -> list[ProfileKey]:
        """All profiles of the users in this closed range, ascending, those without any comment left included."""
        ...

    def load_range(self, first_user: int, last_user: int, field: bytes) -> Iterator[tuple[ProfileKey, bytes | None]]:
        """One field of these users' profiles, in any order; where others come or go meanwhile, one may be left out."""
        ...

    def remove(self, key: ProfileKey, version: bytes) -> bool:
        """Remove a profile, if its version is still this one.

        Folders in which it is due or claimed keep that, and what was announced stays known for them: read without a
        version it has no snapshot, so each removes its file when its turn comes. Of the others nothing stays.
        """
        ...

    # -- revision floors -----------------------------------------------------------------------------------------

    def floors(self, buckets: Iterable[int]) -> dict[int, int]:
        """The revision floors of all users in these buckets who have one: those who were forgotten, few."""
        ...

    def raise_floor(self, user_id: int, floor: int) -> None:
        """Give a user this revision floor, unless it is higher already, or a block that was ended later."""
        ...

    def end_block(self, user_id: int, floor: int) -> bool:
        """Give a user who is blocked this floor instead; False: they are not."""
        ...

    # -- bucket states -------------------------------------------------------------------------------------------

    def bucket_states(self) -> list[BucketState | None]:
        """The states of all buckets, in order; None for one that was never initialized."""
        ...

    def initialize(self, origin: InitialPositions) -> None:
        """Give every bucket without a state one, and every other the positions of partitions that it lacks."""
        ...

    def raise_epoch(
        self, bucket: int, seen: int | None, recovery: RecoveryGoal, origin: InitialPositions, above: int = 0
    ) -> bool:
        """Begin a new epoch if the present one is the one seen (None: no state); False: another process was first.

        Its number is the time (microseconds of the store's clock), or more, to be above the one seen and `above`: so
        no epoch comes twice, where the store falls back to before it. The origin's positions replace the stored ones of
        these partitions, lower ones too.
        """
        ...

    def recover(self, bucket: int, seen: BucketState, left: RecoveryGoal | None) -> bool:
        """Store what is left of the recovery; None: it is done.

        False: the epoch or what was left is not as `seen` any more, so nothing is stored: look again.
        """
        ...

    # -- flushing ------------------------------------------------------------------------------------------------

    def add_folder(self, folder: Folder) -> bool:
        """Make every change of a profile in the folder's scope due there; a new folder has all profiles due (True).

        Notes that there is a flusher, for `drop_folders`.
        """
        ...

    def drop_folders(self, seconds: float) -> list[str]:
        """Know nothing any more of the folders that nobody flushed for so long; their ids, sorted.

        One that returns is a new one. One of which nothing was noted (by an older version) counts from now.
        """
        ...

    def folders(self) -> list[Folder]:
        """All folders that are known."""
        ...

    def pending(self, folder: str, keys: Sequence[ProfileKey]) -> list[bool]:
        """Whether each of these profiles is due or claimed."""
        ...

    def next_due(self, folder: str) -> list[int | None]:
        """For each bucket when (microseconds of the store's clock) something is due or a claim ends; None: nothing."""
        ...

    def count_due(self, folder: str) -> int:
        """How many profiles wait to be claimed for the folder, now or soon."""
        ...

    def claim(self, folder: str, buckets: Iterable[int], limit: int, seconds: float, token: str) -> list[Claim]:
        """Take at most so many due profiles of each bucket for so long. The same token gets the same claims again."""
        ...

    def read(self, folder: str, claims: Sequence[Claim]) -> list[FlushReading]:
        """Read claimed profiles. Nothing is stored but the sequence, so reading twice is as reading once."""
        ...

    def settle(self, folder: str, token: str, settlements: Sequence[Settlement], seconds: float) -> None:
        """End claims: store the hashes; no longer due where the version is still the one read, else due again.

        A claim that was taken over is due once more after `seconds`, forced. What was forced or rechecked since
        the claim stays due.

        Due again at once, and forced, is what others may have overtaken: an announcement where another one was stored
        since the reading, because the later one may have arrived first; and a file or an announcement where the claim
        has another token by now and the profile was read again. Beyond that, a claim with another token is left alone.
        """
        ...

    def defer(self, folder: str, token: str, claims: Sequence[Claim], seconds: float) -> None:
        """Give claims back as they are (forced, taken over), due again after so long."""
        ...

    def force(self, folder: str, keys: Sequence[ProfileKey]) -> None:
        """Make profiles due at once, their settled hash to be ignored."""
        ...

    def settled(self, folder: str, keys: Sequence[ProfileKey]) -> list[str | None]:
        """The hashes of the files that lie in the folder, as settled: empty for no file, None where it is unknown."""
        ...

    def recheck(self, folder: str, keys: Sequence[ProfileKey]) -> None:
        """Forget what lies in the folder for these profiles, and make them due at once."""
        ...

    # -- leases --------------------------------------------------------------------------------------------------

    def lease(self, name: str, token: str, seconds: float) -> bool:
        """Take or renew a named lease."""
        ...

    def release(self, name: str, token: str) -> None:
        """Give a lease up."""
        ...

    def leased(self, name: str) -> bool:
        """Whether anybody holds the lease of that name."""
        ...

    def document(self, name: str) -> bytes | None:
        """Read the document of that name."""
        ...

    def put_document(self, name: str, token: str, value: bytes) -> bool:
        """Write the document, if the token holds the lease of that name."""
        ...

    def describe_process(self, name: str, value: bytes, seconds: float) -> None:
        """Keep what a process of this name says of itself, for so long; nothing, where it is empty."""
        ...

    def processes(self) -> dict[str, Description]:
        """Give what processes say of themselves, by name."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...

"""What becomes of one batch of claims on its way through the flusher's steps."""

from collections.abc import Sequence
from typing import NamedTuple

from projections.profile_key import ProfileKey
from projections.store.protocol import Claim, FlushReading, Published, Settlement
from snapshot.announce.announcement import Announcement
from snapshot.files.folder import DAMAGED, NO_FILE
from snapshot.schema import SignalProfileSnapshot


class Flushed(NamedTuple):
    """What flushing did; `failed` profiles are due again."""

    written: int = 0
    removed: int = 0
    unchanged: int = 0
    announced: int = 0
    failed: int = 0

    def __add__(self, other: object) -> "Flushed":
        if not isinstance(other, Flushed):
            return NotImplemented
        return Flushed(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    @property
    def claims(self) -> int:
        """How many profiles were flushed or failed; those that were given back for want of time are not counted."""
        return self.written + self.removed + self.unchanged + self.failed


class Downstream(NamedTuple):
    """What downstream has of a profile: the snapshot with that hash (NO_FILE: none).

    Not `certain` where an announcement may be missing, or may yet arrive.
    """

    hash: str
    certain: bool


def downstream_of(reading: FlushReading, on_disk: str, *, journaled: bool) -> Downstream:
    """What downstream has, by the store; where that does not know, by the file in the folder.

    A file that lies there was announced, unless the journal names it. What was damaged says nothing. Where the files of
    two folders differ, nothing tells which of them was announced last.
    """
    known = reading.announced
    if known is not None and known.sequence:
        return Downstream(known.hash, certain=True)
    doubtful = journaled or on_disk == DAMAGED or (known is not None and known.hash != on_disk)
    return Downstream(NO_FILE, certain=False) if doubtful else Downstream(on_disk, certain=True)


class Outcome(NamedTuple):
    """A claim after step 3. `on_disk` is the hash of the folder's file."""

    claim: Claim
    reading: FlushReading
    snapshot: SignalProfileSnapshot | None
    hash: str
    on_disk: str
    downstream: Downstream
    cause: tuple[str, int]

    @property
    def repeated(self) -> bool:
        """Whether file and announcement are due whatever they are: an older flush may have come in between."""
        return self.claim.forced or self.claim.taken_over

    @property
    def to_write(self) -> bool:
        """Whether the file has to be written."""
        return self.repeated or self.hash != self.on_disk

    @property
    def to_announce(self) -> bool:
        """Whether the snapshot has to be announced."""
        return self.repeated or self.downstream != Downstream(self.hash, certain=True)


class PendingSettlement(NamedTuple):
    """Step 7 of a batch: what is settled under its token, and what is given back, with the seconds until it is due.

    `forced` are those of the latter of which a file or an announcement may be out.
    """

    token: str
    settlements: Sequence[Settlement]
    back: Sequence[tuple[Claim, float]]
    forced: Sequence[ProfileKey] = ()


class FlushBatch:
    """A batch on its way through the steps. `began` is when its lease did, or before; what fails is due after `retry`.

    Both in seconds.
    """

    def __init__(self, token: str, began: float, retry: float) -> None:
        self.token = token
        self.began = began
        self._retry = retry
        self.outcomes: dict[ProfileKey, Outcome] = {}
        self.failed: set[ProfileKey] = set()
        self._back: dict[ProfileKey, tuple[Claim, float]] = {}
        self._forced: set[ProfileKey] = set()

    def open(self) -> list[Outcome]:
        """What has not been given back."""
        return [one for key, one in self.outcomes.items() if key not in self._back]

    def give_back(self, claim: Claim, seconds: float = 0.0, *, forced: bool = False) -> None:
        """Give a claim back; `forced` where its file or its announcement may be out already: then both are repeated."""
        self._back[claim.key] = claim._replace(forced=claim.forced or forced), seconds
        if forced:
            self._forced.add(claim.key)

    def fail(self, claim: Claim, *, forced: bool = False) -> None:
        """Give a claim back after an error."""
        self.give_back(claim, self._retry, forced=forced)
        self.failed.add(claim.key)

    def ending(self) -> PendingSettlement:
        """What step 7 has to do."""
        return PendingSettlement(
            self.token, [_settlement(one) for one in self.open()], [*self._back.values()], [*self._forced]
        )


def announcement(one: Outcome) -> Announcement:
    """What is announced."""
    event, comment_id = one.cause
    return Announcement(
        user_id=one.claim.key.user_id,
        group_slug=one.claim.key.group_slug,
        snapshot=None if one.snapshot is None else one.snapshot.to_dict(),
        snapshot_hash=one.hash or None,
        previous_hash=one.downstream.hash or None,
        sequence=one.reading.sequence,
        cause={"event": event, "comment_id": comment_id},
    )


def _settlement(one: Outcome) -> Settlement:
    file = Published.FILE if one.to_write else Published.NOTHING
    return Settlement(one.claim, one.reading, one.hash, Published.ANNOUNCEMENT if one.to_announce else file)

"""What becomes of one batch of claims on its way through the flusher's steps."""

from collections.abc import Sequence
from typing import NamedTuple

from projections.profile_key import ProfileKey  # noqa: TC001 - until batch is rewritten
from projections.store.protocol import Claim, FlushReading, Settlement
from snapshot.announce.announcement import Announcement
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
        """How many profiles were dealt with; those that were given back untouched, for want of time, are not."""
        return self.written + self.removed + self.unchanged + self.failed


class Outcome(NamedTuple):
    """A claim after step 3. `known` is the hash of the folder's file; `told` the one that downstream was told."""

    claim: Claim
    reading: FlushReading
    snapshot: SignalProfileSnapshot | None
    hash: str
    known: str
    told: str
    cause: tuple[str, int]

    @property
    def to_write(self) -> bool:
        """Whether the file has to be written."""
        return self.hash != self.known or self.claim.forced or self.claim.taken_over

    @property
    def to_announce(self) -> bool:
        """Whether downstream has to be told; after a take-over always, as an older flush may have come in between."""
        return self.hash != self.told or self.claim.forced or self.claim.taken_over


class PendingSettlement(NamedTuple):
    """Step 7: what is settled under a token, and what is given back, with the seconds until it is due again."""

    token: str
    settlements: Sequence[Settlement]
    back: Sequence[tuple[Claim, float]]


class FlushBatch:
    """A batch on its way through the steps. `began` is when its lease did, or before; what fails is due after `retry`.

    Both in seconds.
    """

    def __init__(self, token: str, began: float, retry: float) -> None:
        self.token = token
        self.began = began
        self._retry = retry
        self.outcomes: dict[ProfileKey, Outcome] = {}
        self.back: dict[ProfileKey, tuple[Claim, float]] = {}
        self.failed: set[ProfileKey] = set()

    def open(self) -> list[Outcome]:
        """What has not been given back."""
        return [one for key, one in self.outcomes.items() if key not in self.back]

    def give_back(self, claim: Claim, seconds: float = 0.0) -> None:
        """Give a claim back as it was: nothing was done."""
        self.back[claim.key] = claim, seconds

    def fail(self, claim: Claim) -> None:
        """Give a claim back as it was, after an error."""
        self.give_back(claim, self._retry)
        self.failed.add(claim.key)


def forced(claim: Claim) -> Claim:
    """The claim, to be done again whatever the hash is by then: file or announcement may be out already."""
    return claim._replace(forced=True)


def announcement(one: Outcome) -> Announcement:
    """What downstream is told."""
    event, comment_id = one.cause
    return Announcement(
        user_id=one.claim.key.user_id,
        group_slug=one.claim.key.group_slug,
        snapshot=None if one.snapshot is None else one.snapshot.to_dict(),
        snapshot_hash=one.hash or None,
        previous_hash=one.told or None,
        sequence=one.reading.sequence,
        cause={"event": event, "comment_id": comment_id},
    )


def settlement(one: Outcome) -> Settlement:
    """What is noted of a profile that is done.

    Without an announcement of ours the sequence is 0, as another folder's flusher may just have sent one.
    """
    return Settlement(
        one.claim, one.reading.version, one.hash, one.hash, one.reading.sequence if one.to_announce else 0
    )

"""The flusher: what changed in the store becomes files and announcements.

For a batch of due profiles:
1 claim them, for the length of a lease, under a token;
2 read their heads (mended first), each reading with its sequence number;
3 build the snapshots and their hashes;
4 where the hash is the settled one, there is nothing to do but to settle;
5 else write the file;
6 announce, where the hash is not the one that downstream was told, and wait for the acknowledgement;
7 settle: note the hashes, drop the due mark if the profile is still the one that was read.
A crash anywhere: the lease runs out, and the flush is done again, to the same bytes.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import structlog

from projections.buckets import BUCKETS
from projections.profile import ProfileKey, unpack_head
from projections.projection import Projection
from projections.store import Claim, Reading, Settlement
from snapshot.announce import Announcement, Announcer
from snapshot.build import build
from snapshot.folder import ProfileFolder
from snapshot.metrics import Metrics
from snapshot.schema import SignalProfileSnapshot, parse_file

log = structlog.get_logger()

LEASE_SECONDS = 30.0
NOTHING = ""
"""The hash that stands for 'no snapshot'."""
DAMAGED = "damaged"
"""The hash that stands for a file that holds no snapshot."""

_CLAIMS_A_BUCKET = 16
_RETRY_SECONDS = 5.0


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
        """How many profiles were looked at."""
        return self.written + self.removed + self.unchanged + self.failed


class Outcome(NamedTuple):
    """A claim after step 3. `known` is the hash of the folder's file; `told` the one that downstream was told."""

    claim: Claim
    reading: Reading
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


class Flusher:
    """Flushes into one folder. `now` is a clock in seconds that runs while the machine is suspended."""

    def __init__(  # noqa: PLR0913 - its parts, and what tests replace
        self,
        projection: Projection,
        folder: ProfileFolder,
        announcer: Announcer,
        metrics: Metrics,
        *,
        lease: float = LEASE_SECONDS,
        now: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
        token: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._projection = projection
        self._store = projection.store
        self._folder = folder
        self._announcer = announcer
        self._metrics = metrics
        self._lease = lease
        self._now = now
        self._token = token

    def register(self) -> bool:
        """Make the folder known to the store; True where it is new, and everything is due."""
        return self._store.register(self._folder.identity)

    def wait(self) -> float | None:
        """Seconds until the next profile is due (0: one is); None: none is."""
        due = [at for at in self._store.next_due(self._folder.identity.id) if at is not None]
        return None if not due else max(0.0, (min(due) - self._store.clock()) / 1e6)

    def flush(self, buckets: Iterable[int] = range(BUCKETS)) -> Flushed:
        """Flush one batch of what is due."""
        began, token = self._now(), self._token()
        claims = self._store.claim(self._folder.identity.id, buckets, _CLAIMS_A_BUCKET, self._lease, token)  # step 1
        if not claims:
            return Flushed()
        outcomes = self._read(claims)  # steps 2 and 3
        failed = self._write(outcomes, began)  # steps 4 and 5
        failed |= self._announce([one for one in outcomes if one.claim.key not in failed], began)  # step 6
        self._settle(token, outcomes, failed)  # step 7
        return self._counted(outcomes, failed)

    def _read(self, claims: Sequence[Claim]) -> list[Outcome]:
        readings = self._store.read(self._folder.identity.id, claims)
        return [self._outcome(claim, reading) for claim, reading in zip(claims, readings, strict=True)]

    def _outcome(self, claim: Claim, reading: Reading) -> Outcome:
        announced = reading.announced
        head = None if reading.head is None else unpack_head(reading.head)
        while head is not None and head.needs_mend():
            self._projection.mend(claim.key)
            reading = self._store.read(self._folder.identity.id, [claim])[0]  # the sequence belongs to this content
            head = None if reading.head is None else unpack_head(reading.head)
        snapshot = build(claim.key, head)
        known = self._known(claim.key, reading)
        told = announced if announced is not None else known if known != DAMAGED else NOTHING
        return Outcome(
            claim=claim,
            reading=reading,
            snapshot=snapshot,
            hash=NOTHING if snapshot is None else snapshot.snapshot_hash,
            known=known,
            told=told,
            cause=("", 0) if head is None else head.cause,
        )

    def _known(self, key: ProfileKey, reading: Reading) -> str:
        """The hash of the file in the folder; where the store does not know it, the file itself is asked."""
        if reading.settled is not None:
            return reading.settled
        content = self._folder.read(key)
        try:
            return NOTHING if content is None else parse_file(content).snapshot_hash
        except ValueError:
            return DAMAGED

    def _late(self, began: float) -> bool:
        return self._now() - began > self._lease / 2

    def _write(self, outcomes: Sequence[Outcome], began: float) -> set[ProfileKey]:
        changed = [one for one in outcomes if one.to_write]
        if self._late(began):
            return {one.claim.key for one in changed}
        contents = {one.claim.key: None if one.snapshot is None else one.snapshot.file_bytes() for one in changed}
        errors = self._folder.write(contents) if contents else {}
        if errors:
            key, error = next(iter(errors.items()))
            log.error(
                "files not written; trying again",
                files=len(errors),
                first=str(self._folder.place(key)),
                error=error.strerror,
                seconds=_RETRY_SECONDS,
            )
        return set(errors)

    def _announce(self, outcomes: Sequence[Outcome], began: float) -> set[ProfileKey]:
        news = [one for one in outcomes if one.to_announce]
        if not news:
            return set()
        if self._late(began):
            return {one.claim.key for one in news}
        answers = self._announcer.announce([_announcement(one) for one in news])
        failed = {one.claim.key: error for one, error in zip(news, answers, strict=True) if error is not None}
        if failed:
            key, error = next(iter(failed.items()))
            log.error(
                "announcements not acknowledged; trying again",
                announcements=len(failed),
                first=f"{key.user_id}:{key.group_slug}",
                error=str(error),
                seconds=_RETRY_SECONDS,
            )
        self._metrics.count("signal_glaze.announcements", len(news) - len(failed))
        return set(failed)

    def _settle(self, token: str, outcomes: Sequence[Outcome], failed: set[ProfileKey]) -> None:
        """Settle what is done, and give back what failed."""
        folder = self._folder.identity.id
        done = [
            Settlement(one.claim, one.reading.version, one.hash, one.hash)
            for one in outcomes
            if one.claim.key not in failed
        ]
        if done:
            self._store.settle(folder, token, done, self._lease)
        if failed:
            claims = [one.claim for one in outcomes if one.claim.key in failed]
            self._store.defer(folder, token, claims, _RETRY_SECONDS)

    def _counted(self, outcomes: Sequence[Outcome], failed: set[ProfileKey]) -> Flushed:
        done = [one for one in outcomes if one.claim.key not in failed]
        flushed = Flushed(
            written=sum(one.to_write and one.snapshot is not None for one in done),
            removed=sum(one.to_write and one.snapshot is None for one in done),
            unchanged=sum(not one.to_write for one in done),
            announced=sum(one.to_announce for one in done),
            failed=len(failed),
        )
        self._metrics.count("signal_glaze.snapshots_generated", flushed.written)
        self._metrics.count("signal_glaze.snapshots_removed", flushed.removed)
        self._metrics.count("signal_glaze.snapshots_unchanged", flushed.unchanged)
        self._metrics.count("signal_glaze.flush_failures", flushed.failed)
        return flushed


def _announcement(one: Outcome) -> Announcement:
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

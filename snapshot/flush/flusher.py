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
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from projections.codec import UNREADABLE, unpack_head
from projections.profile_key import BUCKETS, ProfileKey
from projections.profiles.head import Head
from projections.projection import Projection
from projections.store.protocol import Claim, FlushReading
from projections.store.rollback import RollbackDetector
from snapshot.announce.announcement import Announcer
from snapshot.build import build
from snapshot.files.folder import DAMAGED, NO_FILE, ForeignFileError, NotDurableError, NotStartedError, ProfileFolder
from snapshot.flush.batch import (
    FlushBatch,
    Flushed,
    Outcome,
    PendingSettlement,
    announcement,
    forced,
    settlement,
)
from snapshot.flush.deferral import Deferral
from snapshot.flush.unannounced import UnannouncedJournal
from snapshot.runtime.metrics import Metrics
from snapshot.runtime.throttle import ThrottledWarning

__all__ = ["LEASE_SECONDS", "Flushed", "Flusher", "Outcome"]

LEASE_SECONDS = 12.0
RETRY_SECONDS = 5.0

_CLAIMS_A_BUCKET = 16
# A clock that runs while the machine is suspended; macOS' monotonic one does.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Flusher:
    """Flushes into one folder. `now` is a clock in seconds that runs while the machine is suspended.

    With a `detector`, nothing is shown of buckets that fell back until their epoch is raised. Used by one thread.
    """

    def __init__(  # noqa: PLR0913 - its parts, and what tests replace
        self,
        projection: Projection,
        folder: ProfileFolder,
        announcer: Announcer,
        metrics: Metrics,
        *,
        lease: float = LEASE_SECONDS,
        retry: float = RETRY_SECONDS,
        now: Callable[[], float] = lambda: time.clock_gettime(_CLOCK),
        token: Callable[[], str] = lambda: secrets.token_hex(8),
        detector: RollbackDetector | None = None,
    ) -> None:
        self.trouble: str | None = None
        """What stands in the way of profiles that failed, for the operator; None where none is left."""
        self._projection = projection
        self._store = projection.store
        self._folder = folder
        self._announcer = announcer
        self._metrics = metrics
        self._lease = lease
        self._retry = retry
        self._now = now
        self._token = token
        self._caution = Deferral(projection.store, folder, detector, retry / 5)
        self._claiming: FlushBatch | None = None
        self._ending: PendingSettlement | None = None
        self._stuck: set[ProfileKey] = set()
        self._untold = UnannouncedJournal(folder.path, folder.disk)
        self._unknown: set[ProfileKey] = set()
        self._unwritten = ThrottledWarning("files not written; trying again", now, level="error")
        self._foreign = ThrottledWarning(
            "a file that is not a snapshot has the name of a removed profile; it stays", now
        )
        self._unannounced = ThrottledWarning("announcements not acknowledged; trying again", now, level="error")
        self._unreadable = ThrottledWarning("profiles in the store can't be read", now, level="error")

    def add_folder(self) -> bool:
        """Make the folder known to the store; True where it is new, and everything is due."""
        return self._store.add_folder(self._folder.identity)

    def measure(self) -> None:
        """Send how many profiles wait to be flushed."""
        self._metrics.gauge("signal_glaze.due", self._store.count_due(self._folder.identity.id))

    def wait(self) -> float | None:
        """Seconds until the next profile is due (0: one is); None: none is."""
        due = [at for at in self._store.next_due(self._folder.identity.id) if at is not None]
        return None if not due else max(0.0, (min(due) - self._store.clock()) / 1e6)

    def flush(self, buckets: Iterable[int] = range(BUCKETS)) -> Flushed:
        """Flush one batch of what is due.

        Raises StoreUnavailableError; the next call goes on where this one was.
        """
        if self._ending is not None:
            self._end(self._ending)
        one = self._begin()
        claims = self._store.claim(
            self._folder.identity.id, buckets, _CLAIMS_A_BUCKET, self._lease, one.token
        )  # step 1
        self._claiming = None
        if not claims:
            return Flushed()
        self._ending = PendingSettlement(one.token, (), [(claim, 0.0) for claim in claims])
        self._read(one, claims)  # steps 2 and 3
        self._caution.give_back(one)
        self._write(one)  # steps 4 and 5
        self._announce(one)  # step 6
        done = [settlement(own) for own in one.open()]
        self._told([own.claim.key for own in done])
        self._end(PendingSettlement(one.token, done, list(one.back.values())))  # step 7
        return self._counted(one)

    def _begin(self) -> FlushBatch:
        """A new round; or that of a claim whose answer never came: its token gets the same claims."""
        if self._claiming is None or self._late(self._claiming):
            self._claiming = FlushBatch(self._token(), self._now(), self._retry)
        return self._claiming

    def _age(self, one: FlushBatch) -> float:
        return self._now() - one.began

    def _late(self, one: FlushBatch) -> bool:
        return self._age(one) > self._lease / 2

    # -------------------------------------------------------------------------------------------------- steps 2 and 3

    def _read(self, one: FlushBatch, claims: Sequence[Claim]) -> None:
        readings = self._store.read(self._folder.identity.id, claims)
        if any(reading.announced is None for reading in readings):
            self._untold.look()
        for claim, reading in zip(claims, readings, strict=True):
            try:
                one.outcomes[claim.key] = self._outcome(claim, reading)
            except UNREADABLE as error:
                one.fail(claim)
                self.trouble = (
                    f"the profile {_named(claim.key)} in the store can't be read ({error}); mend it with "
                    f"`snapshot-rebuild --user {claim.key.user_id}`"
                )
                self._unreadable.warn(str(error), first=_named(claim.key))

    def _outcome(self, claim: Claim, reading: FlushReading) -> Outcome:
        announced = self._announced(claim, reading)
        head = _head(reading)
        while head is not None and head.needs_recompute():
            self._projection.recompute(claim.key)
            reading = self._store.read(self._folder.identity.id, [claim])[0]  # the sequence belongs to this content
            head = _head(reading)
        snapshot = build(claim.key, head)
        known = self._folder.hash_on_disk(claim.key) if reading.settled is None else reading.settled
        if announced is None:
            announced = NO_FILE if known == DAMAGED or claim.key in self._untold else known
        return Outcome(
            claim=claim,
            reading=reading,
            snapshot=snapshot,
            hash=NO_FILE if snapshot is None else snapshot.snapshot_hash,
            known=known,
            told=announced,
            cause=("", 0) if head is None else head.cause,
        )

    def _announced(self, claim: Claim, reading: FlushReading) -> str | None:
        """What downstream was told, as far as the store knew before we read it.

        The first reading notes that nothing was told, and where it came to nothing the second one would believe it.
        """
        if reading.announced is None:
            self._unknown.add(claim.key)
        return None if claim.key in self._unknown and not reading.announced else reading.announced

    def _told(self, keys: Collection[ProfileKey]) -> None:
        self._untold.told(keys)
        self._unknown.difference_update(keys)

    # -------------------------------------------------------------------------------------------------- steps 4 and 5

    def _write(self, one: FlushBatch) -> None:
        """Write for a quarter of the lease at most, so that a slow disk still leaves time to announce and settle."""
        changed = {outcome.claim.key: outcome for outcome in one.open() if outcome.to_write}
        if not changed:
            return
        contents = {
            key: None if outcome.snapshot is None else outcome.snapshot.file_bytes() for key, outcome in changed.items()
        }
        try:
            news = [key for key, outcome in changed.items() if outcome.to_announce]
            new = sum(content is not None for content in contents.values())
            self._untold.record(one.token, news, flush=not self._folder.flushes_all(new))
            errors = self._folder.write(contents, lambda: self._age(one) > self._lease / 4, self._untold)
        except OSError as failed:
            errors = dict.fromkeys(contents, failed)
        for key, error in errors.items():
            claim = changed[key].claim
            if isinstance(error, NotStartedError):
                one.give_back(claim)
            elif isinstance(error, ForeignFileError):
                self._foreign.warn(str(self._folder.place(key)))
            else:
                one.fail(forced(claim) if isinstance(error, NotDurableError) else claim)
        harmless = (NotStartedError, ForeignFileError)
        self._complain_of_files({key: error for key, error in errors.items() if not isinstance(error, harmless)})

    def _complain_of_files(self, errors: Mapping[ProfileKey, OSError]) -> None:
        if not errors:
            return
        key, error = next(iter(errors.items()))
        reason = error.strerror or str(error)
        self._unwritten.warn(reason, files=len(errors), first=str(self._folder.place(key)))
        self.trouble = (
            f"{self._folder.place(key)} can't be written ({reason}); mend that, or choose another folder with "
            "--output-dir or SNAPSHOT_STORAGE_DIR"
        )

    # --------------------------------------------------------------------------------------------------------- step 6

    def _announce(self, one: FlushBatch) -> None:
        """A file without its announcement is written again, whatever the hash is by then."""
        news = [outcome for outcome in one.open() if outcome.to_announce]
        if not news:
            return
        if self._late(one):
            for outcome in news:
                one.give_back(forced(outcome.claim) if outcome.to_write else outcome.claim)
            return
        answers = self._announcer.announce([announcement(outcome) for outcome in news])
        failed = {outcome.claim.key: error for outcome, error in zip(news, answers, strict=True) if error is not None}
        for key in failed:
            one.fail(forced(one.outcomes[key].claim))
        self._complain_of_announcements(failed)
        self._metrics.count("signal_glaze.announcements", len(news) - len(failed))

    def _complain_of_announcements(self, errors: Mapping[ProfileKey, Exception]) -> None:
        if not errors:
            return
        key, error = next(iter(errors.items()))
        self._unannounced.warn(str(error), announcements=len(errors), first=_named(key))
        self.trouble = f"the change of the profile {_named(key)} can't be announced: {error}"

    # --------------------------------------------------------------------------------------------------------- step 7

    def _end(self, ending: PendingSettlement) -> None:
        """Settle what is done and give back what is not. If the store is away, the next flush begins with this."""
        self._ending = ending
        folder = self._folder.identity.id
        if ending.settlements:
            self._store.settle(folder, ending.token, ending.settlements, self._lease)
        for seconds in {seconds for _, seconds in ending.back}:
            claims = [claim for claim, at in ending.back if at == seconds]
            self._store.defer(folder, ending.token, claims, seconds)
        self._ending = None

    def _counted(self, one: FlushBatch) -> Flushed:
        done = one.open()
        flushed = Flushed(
            written=sum(outcome.to_write and outcome.snapshot is not None for outcome in done),
            removed=sum(outcome.to_write and outcome.snapshot is None for outcome in done),
            unchanged=sum(not outcome.to_write for outcome in done),
            announced=sum(outcome.to_announce for outcome in done),
            failed=len(one.failed),
        )
        self._tell_stuck(one)
        self._metrics.count("signal_glaze.snapshots_generated", flushed.written)
        self._metrics.count("signal_glaze.snapshots_removed", flushed.removed)
        self._metrics.count("signal_glaze.snapshots_unchanged", flushed.unchanged)
        self._metrics.count("signal_glaze.flush_failures", flushed.failed)
        return flushed

    def _tell_stuck(self, one: FlushBatch) -> None:
        """Note which profiles failed, and which of those that did are done now."""
        self._stuck -= one.outcomes.keys() - one.back.keys()
        self._stuck |= one.failed
        if not self._stuck:
            self.trouble = None
            for warning in (self._unwritten, self._unannounced, self._unreadable):
                warning.resolved()


def _head(reading: FlushReading) -> Head | None:
    return None if reading.head is None else unpack_head(reading.head)


def _named(key: ProfileKey) -> str:
    return f"{key.user_id}:{key.group_slug}"

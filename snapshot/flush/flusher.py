"""The flusher: what changed in the store becomes files and announcements.

For a batch of due profiles:
1 claim them, for the length of a lease, under a token;
2 read their heads (recomputed first), each reading with its sequence number;
3 build the snapshots and their hashes;
4 where the hash is the settled one, there is nothing to do but to settle;
5 else write the file;
6 announce, where that is not the snapshot that downstream has, and wait for the acknowledgement;
7 settle: store the hashes, and no longer due if the profile is still the one that was read.
A crash anywhere: the lease runs out, and the flush is done again, to the same bytes.

Several flushers may write the same announcements at the same time: one for each folder, or one that stopped while
its lease ran out. Each finds in step 7 that another was there since its reading, and has the profile flushed once more.
One that dies just there may leave an older record until the profile's next change.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from projections.codec import UNREADABLE, unpack_head
from projections.profile_key import BUCKETS, ProfileKey
from projections.profiles.head import Head
from projections.projection import Projection
from projections.store.protocol import Claim, FlushReading
from projections.store.rollback import RollbackDetector
from snapshot.announce.announcement import Announcer
from snapshot.build import build
from snapshot.files.folder import NO_FILE, ForeignFileError, NotDurableError, NotStartedError, ProfileFolder
from snapshot.flush.batch import FlushBatch, Flushed, Outcome, PendingSettlement, announcement, downstream_of
from snapshot.flush.deferral import Deferral
from snapshot.flush.epochs import Announced, FolderEpochs, States, recover_lost
from snapshot.flush.failures import Failures
from snapshot.flush.unannounced import UnannouncedJournal
from snapshot.runtime.metrics import Metrics

log = structlog.get_logger()

LEASE_SECONDS = 12.0
RETRY_SECONDS = 5.0
FOLDER_DAYS = 90.0
"""A folder that nobody flushed for so long is dropped from the queues."""

_CLAIMS_A_BUCKET = 16
_DAY = 86_400.0
_DROP_SECONDS = 3_600.0
# A clock that runs while the machine is suspended; macOS' monotonic one does.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Flusher:
    """Flushes into one folder. `now` is a clock in seconds that runs while the machine is suspended.

    With a `detector`, nothing is shown of buckets that rolled back until their epoch is raised. Used by one thread.
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
        folder_days: float = FOLDER_DAYS,
    ) -> None:
        self._projection = projection
        self._store = projection.store
        self._folder = folder
        self._id = folder.identity.id
        self._announcer = announcer
        self._metrics = metrics
        self._lease = lease
        self._retry = retry
        self._now = now
        self._unused_seconds = folder_days * _DAY
        self._drop_at = now()
        self._token = token
        self._epochs = FolderEpochs(folder)
        self._deferral = Deferral(projection.store, folder, self._epochs, detector, retry / 5)
        self._journal = UnannouncedJournal(folder.path, folder.disk)
        self._failures = Failures(folder.place, now)
        self._claiming: FlushBatch | None = None
        """A batch whose claim may have succeeded, although its answer never came."""
        self._unfinished: PendingSettlement | None = None
        """A batch whose last step may not have reached the store."""

    @property
    def trouble(self) -> str | None:
        """What stands in the way of profiles that failed, for the operator; None where nothing does."""
        return self._failures.trouble

    @property
    def failed(self) -> Mapping[ProfileKey, str]:
        """The profiles that could not be flushed, with why."""
        return self._failures.reasons

    def add_folder(self) -> bool:
        """Make the folder known to the store; True where it is new, and everything is due.

        Once an hour, folders that nobody flushes any more are dropped before: this may be one that returns.
        """
        if self._now() >= self._drop_at:
            self._drop_at = self._now() + _DROP_SECONDS
            if dropped := self._store.drop_folders(self._unused_seconds):
                log.warning("folders that nobody flushes any more were dropped from the queues", folders=dropped)
        return self._store.add_folder(self._folder.identity)

    def expect(self, states: States) -> None:
        """See `FolderEpochs.expect`: nothing is shown of what fell back."""
        self._epochs.expect(states)

    def recover_lost(self, *, by_files: bool = False, announced: Callable[[], Announced] = dict) -> States:
        """See `snapshot.flush.epochs.recover_lost`; another process may have seen more of the store than this one.

        Gives the states of all buckets, as they were before.
        """
        states, lost = recover_lost(self._epochs, self._store, by_files=by_files, announced=announced)
        self._metrics.count("signal_glaze.losses", lost)
        return states

    def measure(self, delay: float = 0.0) -> None:
        """Send how many profiles wait to be flushed, and how many seconds they do so beyond their due time."""
        self._metrics.gauge("signal_glaze.due", self._store.count_due(self._folder.identity.id))
        self._metrics.gauge("signal_glaze.flush_delay", delay)

    def wait(self) -> float | None:
        """Seconds until the next profile is due (negative: one has been for so long); None: none is."""
        due = [at for at in self._store.next_due(self._id) if at is not None]
        return None if not due else (min(due) - self._store.clock()) / 1e6

    def waiting(self) -> int:
        """How many profiles wait to be flushed, those of a batch under way included."""
        batch = self._unfinished
        return self._store.count_due(self._id) + (0 if batch is None else len(batch.settlements) + len(batch.back))

    def overdue(self, seconds: float) -> list[int]:
        """The buckets where a profile has been due for so long."""
        latest = self._store.clock() - int(seconds * 1e6)
        return [bucket for bucket, at in enumerate(self._store.next_due(self._id)) if at is not None and at <= latest]

    def flush(self, buckets: Iterable[int] = range(BUCKETS)) -> Flushed:
        """Flush one batch of what is due.

        Raises StoreUnavailableError; the next call goes on where this one was.
        """
        if self._unfinished is not None:
            self._end(self._unfinished)
        batch = self._begin()
        claims = self._store.claim(self._id, buckets, _CLAIMS_A_BUCKET, self._lease, batch.token)  # step 1
        self._claiming = None
        if not claims:
            return Flushed()
        self._unfinished = PendingSettlement(batch.token, (), [(claim, 0.0) for claim in claims])
        self._read(batch, claims)  # steps 2 and 3
        states = self._deferral.give_back(batch)
        self._write(batch, states)  # steps 4 and 5
        self._announce(batch)  # step 6
        self._journal.announced([outcome.claim.key for outcome in batch.open()])
        self._end(batch.ending())  # step 7
        self._failures.record(batch)
        return self._count(batch)

    def _begin(self) -> FlushBatch:
        """A new batch; or that of a claim whose answer never came: its token gets the same claims."""
        if self._claiming is None or self._late(self._claiming):
            self._claiming = FlushBatch(self._token(), self._now(), self._retry)
        return self._claiming

    def _age(self, batch: FlushBatch) -> float:
        return self._now() - batch.began

    def _late(self, batch: FlushBatch) -> bool:
        return self._age(batch) > self._lease / 2

    # -------------------------------------------------------------------------------------------------- steps 2 and 3

    def _read(self, batch: FlushBatch, claims: Sequence[Claim]) -> None:
        readings = self._store.read(self._id, claims)
        if not all(reading.announced and reading.announced.sequence for reading in readings):
            self._journal.read()
        for claim, reading in zip(claims, readings, strict=True):
            try:
                batch.outcomes[claim.key] = self._outcome(claim, reading)
            except UNREADABLE as error:
                batch.fail(claim)
                self._failures.unreadable(claim.key, error)

    def _outcome(self, claim: Claim, reading: FlushReading) -> Outcome:
        head = _head(reading)
        while head is not None and head.needs_recompute():
            self._projection.recompute(claim.key)
            reading = self._store.read(self._id, [claim])[0]  # the sequence belongs to this content
            head = _head(reading)
        snapshot = build(claim.key, head)
        if snapshot is not None and snapshot.snapshot_hash == reading.settled and self._folder.lacks(claim.key):
            # Its end was flushed, and the store lost that: it may have been announced.
            claim = claim._replace(forced=True)
        on_disk = self._folder.hash_on_disk(claim.key) if reading.settled is None else reading.settled
        return Outcome(
            claim=claim,
            reading=reading,
            snapshot=snapshot,
            hash=NO_FILE if snapshot is None else snapshot.snapshot_hash,
            on_disk=on_disk,
            downstream=downstream_of(reading, on_disk, journaled=claim.key in self._journal),
            cause=("", 0) if head is None else head.cause,
        )

    # -------------------------------------------------------------------------------------------------- steps 4 and 5

    def _write(self, batch: FlushBatch, states: States) -> None:
        """Write for a quarter of the lease at most, so that a slow disk still leaves time to announce and settle."""
        changed = {outcome.claim.key: outcome for outcome in batch.open() if outcome.to_write}
        if not changed:
            return
        contents = {
            key: None if outcome.snapshot is None else outcome.snapshot.file_bytes() for key, outcome in changed.items()
        }
        try:
            unannounced = [key for key, outcome in changed.items() if outcome.to_announce]
            flush = not self._folder.flushes_all(sum(content is not None for content in contents.values()))
            self._epochs.note_writes(states, flush=flush)
            self._journal.record(batch.token, unannounced, flush=flush)
            errors = self._folder.write(contents, lambda: self._age(batch) > self._lease / 4, self._journal)
        except OSError as error:
            errors = dict.fromkeys(contents, error)
        self._give_back_unwritten(batch, errors)

    def _give_back_unwritten(self, batch: FlushBatch, errors: dict[ProfileKey, OSError]) -> None:
        unwritten = {}
        for key, error in errors.items():
            claim = batch.outcomes[key].claim
            if isinstance(error, ForeignFileError):  # it is none of ours, so there is none
                self._failures.not_ours(key)
            elif isinstance(error, NotStartedError):
                batch.give_back(claim)
            else:
                batch.fail(claim, forced=isinstance(error, NotDurableError))
                unwritten[key] = error
        self._failures.unwritten(unwritten)

    # --------------------------------------------------------------------------------------------------------- step 6

    def _announce(self, batch: FlushBatch) -> None:
        """A file without its announcement is written again, whatever the hash is by then."""
        outcomes = [outcome for outcome in batch.open() if outcome.to_announce]
        if not outcomes:
            return
        if self._late(batch):
            for outcome in outcomes:
                batch.give_back(outcome.claim, forced=outcome.to_write)
            return
        answers = self._announcer.announce([announcement(outcome) for outcome in outcomes])
        errors = {one.claim.key: error for one, error in zip(outcomes, answers, strict=True) if error is not None}
        for key in errors:
            batch.fail(batch.outcomes[key].claim, forced=True)
        self._failures.unannounced(errors)
        self._metrics.count("signal_glaze.announcements", len(outcomes) - len(errors))

    # --------------------------------------------------------------------------------------------------------- step 7

    def _end(self, ending: PendingSettlement) -> None:
        """Settle what is done and give back what is not. If the store fails, the next flush begins with this."""
        self._unfinished = ending
        if ending.forced:  # by key, as the claim may be another flusher's by now
            self._store.force(self._id, ending.forced)
        if ending.settlements:
            self._store.settle(self._id, ending.token, ending.settlements, self._lease)
        for seconds in {seconds for _, seconds in ending.back}:
            claims = [claim for claim, delay in ending.back if delay == seconds]
            self._store.defer(self._id, ending.token, claims, seconds)
        self._unfinished = None

    def _count(self, batch: FlushBatch) -> Flushed:
        done = batch.open()
        flushed = Flushed(
            written=sum(outcome.to_write and outcome.snapshot is not None for outcome in done),
            removed=sum(outcome.to_write and outcome.snapshot is None for outcome in done),
            unchanged=sum(not outcome.to_write for outcome in done),
            announced=sum(outcome.to_announce for outcome in done),
            failed=len(batch.failed),
        )
        self._metrics.count("signal_glaze.snapshots_generated", flushed.written)
        self._metrics.count("signal_glaze.snapshots_removed", flushed.removed)
        self._metrics.count("signal_glaze.snapshots_unchanged", flushed.unchanged)
        self._metrics.count("signal_glaze.flush_failures", flushed.failed)
        return flushed


def _head(reading: FlushReading) -> Head | None:
    return None if reading.head is None else unpack_head(reading.head)

"""After the repairs: the flusher brings files and announcements in step, and empty profiles are pruned.

1 flush until nothing is due; 2 remove the profiles that have no row and no file any more; 3 compare all files with the
heads; 4 what is wrong there is flushed again.
"""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from projections.codec import read_registers
from projections.comments.register import GONE
from projections.errors import OperatorError
from projections.paging import pages
from projections.profile_key import BUCKETS, ProfileKey
from projections.store.protocol import ABSENT, BucketState, Store
from projections.watermark import tail_is_running
from snapshot.files.check import BadFile, FileCheck, bad_file
from snapshot.files.orphans import orphan_files, reason_to_keep
from snapshot.flush.batch import Flushed
from snapshot.flush.epochs import FolderEpochs, complete, recover_lost
from snapshot.flush.flusher import LEASE_SECONDS, RETRY_SECONDS
from snapshot.processes.spawn import Pool
from snapshot.rebuild import tasks
from snapshot.rebuild.tasks import Output
from snapshot.runtime.progress import ProgressBar

_STEP_SECONDS = 0.25
_MIN_SECONDS = 0.02
"""What is due and can't be claimed is in a bucket that recovers."""
_FAILING_ROUNDS = 3
_RETRIED = int(2 * RETRY_SECONDS * 1e6)
"""Microseconds after which what failed has been tried again."""
_BUCKETS_A_TASK = 8
_PROFILES_A_TASK = 2_000
_CLAIMS_END_SECONDS = LEASE_SECONDS + 5.0
DAY = 86_400_000_000
"""Microseconds that an empty profile is kept while a tail is running: an older event may still come."""


class PublishResult(NamedTuple):
    """What became of the files; `wrong` are those that differed from their profiles and were not due to be written.

    `blocked` says how many orphan files the deletion guard left.
    """

    flushed: Flushed
    wrong: list[BadFile]
    pruned: int
    blocked: str | None


class PublishStep:
    """Publishes into one folder what a rebuild left due. `sleep` takes seconds."""

    def __init__(
        self,
        pool: Pool[tasks.RebuildContext],
        store: Store,
        output: Output,
        bar: ProgressBar,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._pool = pool
        self._store = store
        self._folder = output.folder
        self._flusher = output.flusher
        self._epochs = FolderEpochs(output.folder)
        self._new = False
        self._bar = bar
        self._sleep = sleep

    def begin(self) -> None:
        """Note what the store holds; what is detected and repaired from now on is part of it."""
        self.recover_lost()
        self._epochs.expect(self._store.bucket_states())

    def recover_lost(self) -> None:
        """Let nothing be shown of a store that lost what the folder was written from, before it is reconciled.

        Nor of one that was lost since the run began, whose repairs are gone.
        """
        recover_lost(self._epochs, self._store)

    def record(self, states: Sequence[BucketState | None]) -> None:
        """All files were compared in these states: the folder is in step with those that do not recover.

        Not with an epoch that was raised: what ended meanwhile may be announced, which the daemon compares.
        """
        whole = [state if complete(states, [bucket]) else None for bucket, state in enumerate(states)]
        with suppress(OSError):  # then the daemon compares them once more
            self._epochs.record(whole, announced=False)
            self._epochs.note_writes(self._store.bucket_states(), flush=True)

    def add_folder(self) -> None:
        """Make the folder known to the store. All files of a new one are written now, so none is compared then."""
        self._new = self._flusher is not None and self._flusher.add_folder()

    def publish(  # noqa: PLR0913 - what a rebuild knows
        self,
        doubtful: Collection[ProfileKey] | None,
        empty: Collection[ProfileKey],
        keys: Callable[[], list[ProfileKey]],
        ours: Callable[[ProfileKey], bool],
        now: int,
        *,
        prune_all: bool,
    ) -> PublishResult:
        """Do all steps. `doubtful` are the profiles whose files are compared, None for all.

        `empty` are the profiles without a row at the time `now` (microseconds of the database's clock), `keys` lists
        the stored profiles in the run's scope, `ours` tells which orphan files are. Raises OperatorError where nothing
        can be written.
        """
        self._bar.phase("writing files", None)
        flushed = self.flush()  # step 1
        pruned = [key for key in empty if prune(self._store, key, now)]  # step 2
        stored = keys()
        compared = stored if doubtful is None else sorted(set(doubtful).intersection(stored))
        wrong = [] if self._new else self._wrong_files(compared)  # step 3
        orphaned, blocked = self._orphan_files(stored, ours, prune_all=prune_all)
        fixable = wrong if blocked is not None else wrong + orphaned
        if fixable:
            self._store.recheck(self._folder.identity.id, [one.key for one in fixable])  # step 4
            flushed += self.flush()
        return PublishResult(flushed, wrong + orphaned, len(pruned), blocked)

    def inspect(
        self,
        doubtful: list[ProfileKey],
        keys: list[ProfileKey],
        ours: Callable[[ProfileKey], bool],
        *,
        prune_all: bool,
    ) -> tuple[list[BadFile], str | None]:
        """Name the files that step 4 would fix, and what the deletion guard would block; change nothing."""
        wrong = self._wrong_files(doubtful)
        orphaned, blocked = self._orphan_files(keys, ours, prune_all=prune_all)
        return [*wrong, *orphaned], blocked

    def _orphan_files(
        self, stored: Iterable[ProfileKey], ours: Callable[[ProfileKey], bool], *, prune_all: bool
    ) -> tuple[list[BadFile], str | None]:
        """Name the orphan files, and how many of all they are where the deletion guard blocks that many."""
        slug = self._folder.identity.group_slug
        orphaned = orphan_files(
            self._store,
            self._folder,
            {self._folder.name(key) for key in stored},
            lambda user: ours(ProfileKey(user, slug or "")),
        )
        return orphaned, None if prune_all else reason_to_keep(self._folder, orphaned)

    def _nothing_due(self) -> bool:
        return all(due is None for due in self._store.next_due(self._folder.identity.id))

    def _wrong_files(self, keys: list[ProfileKey]) -> list[BadFile]:
        """Compare the files of these profiles with their heads; one that waits for a flush is wrong if none is due."""
        parts = list(pages(keys, _PROFILES_A_TASK))
        self._bar.phase("comparing files", len(parts))
        found = FileCheck([], [])
        for one in self._pool.map(tasks.check_files_of, parts):
            found.wrong.extend(one.wrong)
            found.waiting.extend(one.waiting)
            self._bar.advance()
        unwritten = [self._unwritten(key) for key in found.waiting] if self._nothing_due() else []
        return found.wrong + unwritten

    def _unwritten(self, key: ProfileKey) -> BadFile:
        return bad_file(self._folder, key, self._folder.hash_on_disk(key))

    def flush(self) -> Flushed:
        """Flush until nothing is due, or until what was due at the beginning was, and every claim of then has ended.

        Others may make profiles due as fast as they are flushed; and buckets that recover are not flushed at all.
        """
        total, failures, began = Flushed(), _Failures(self._store.clock), self._store.clock()
        until = began + int(_CLAIMS_END_SECONDS * 1e6)
        buckets = [range(first, first + _BUCKETS_A_TASK) for first in range(0, BUCKETS, _BUCKETS_A_TASK)]
        orders = [tasks.FlushOrder(some, began, self._epochs.seen) for some in buckets]
        while True:
            flushed = Flushed()
            for one in self._pool.map(tasks.flush, orders):
                flushed += one
                self._bar.advance(one.claims)
            total += flushed._replace(failed=0)
            failures.add(flushed.failed)
            due = None if self._flusher is None else self._flusher.wait()
            over = due is None or self._store.clock() > until
            if failures.rounds == _FAILING_ROUNDS or (over and due is not None and failures.rounds):
                raise OperatorError(
                    f"{failures.profiles} profiles can't be written or announced; fix what the log names, and run again"
                )
            if due is None or over:
                return total
            self._sleep(min(max(due, _MIN_SECONDS), _STEP_SECONDS))


class _Failures:
    """Counts rounds in which profiles failed, until one that had time to try them again succeeds.

    What failed is due again only after a while: a round before that means nothing.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._last = 0
        self.rounds = 0
        self.profiles = 0

    def add(self, failed: int) -> None:
        """A round has ended."""
        if failed:
            self._last, self.profiles, self.rounds = self._clock(), failed, self.rounds + 1
        elif self._clock() > self._last + _RETRIED:
            self.rounds = 0


def prune(store: Store, key: ProfileKey, now: int) -> bool:
    """Remove a profile that holds nothing but comments that are gone; whether it was removed.

    While a tail is running it is kept for a day after its last comment was removed, so that an older event that is
    still on its way meets a newer reading.
    """
    version = store.load({key: ()})[key].version
    if version == ABSENT:
        return False
    registers = read_registers(store.scan(key)).values()
    if any(register.comment is None or register.comment.state != GONE for register in registers):
        return False
    newest = max((register.comment_revision for register in registers), default=0)
    if tail_is_running(store) and newest > now - DAY:
        return False
    return store.remove(key, version)

"""After the repairs: files and announcements are brought in line, by the flusher, and empty profiles are let go.

1 flush until nothing is due; 2 remove the profiles that have no row and no file any more; 3 compare all files with the
heads; 4 what is wrong there is flushed again.
"""

import time
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from projections.codec import read_registers
from projections.comments.register import GONE
from projections.errors import OperatorError
from projections.paging import pages
from projections.profile_key import BUCKETS, ProfileKey
from projections.store.protocol import ABSENT, Store
from projections.watermark import tail_is_running
from snapshot.deletion_guard import LEAST, too_many
from snapshot.files.check import BadFile, Fault, FileCheck, read_or_empty
from snapshot.files.folder import file_name
from snapshot.files.orphans import orphan_files_of
from snapshot.flush.flusher import LEASE_SECONDS, RETRY_SECONDS, Flushed
from snapshot.processes.spawn import Pool
from snapshot.rebuild import tasks
from snapshot.rebuild.tasks import Output
from snapshot.runtime.progress import ProgressBar

_STEP_SECONDS = 0.25
_FAILING_ROUNDS = 3
_AGAIN = int(2 * RETRY_SECONDS * 1e6)
_BUCKETS_A_PIECE = 8
_PROFILES_A_PIECE = 2_000
_CLAIMS_END_SECONDS = LEASE_SECONDS + 5.0
DAY = 86_400_000_000
"""Microseconds that an empty profile is kept while somebody tails the database: an older event may still come."""


class Published(NamedTuple):
    """What became of the files; `wrong` are those that were not as they should be and that no flush was to write.

    `blocked` says how many files that are nobody's the brake left there.
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
        meter: ProgressBar,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._pool = pool
        self._store = store
        self._folder = output.folder
        self._flusher = output.flusher
        self._new = False
        self._meter = meter
        self._sleep = sleep

    def add_folder(self) -> None:
        """Make the folder known to the store. All of a new one is written now, so none of it is compared then."""
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
    ) -> Published:
        """Do all steps, and look again at the `doubtful` files (None: at all).

        `empty` are the profiles without a row at the time `now` (microseconds of the database's clock), `keys` lists
        the stored profiles to look after, `ours` tells whose strange files are meant. Raises OperatorError where
        nothing can be written.
        """
        self._meter.phase("writing files", None)
        flushed = self.flush()  # step 1
        pruned = [key for key in empty if prune(self._store, key, now)]  # step 2
        stored = keys()
        looked_at = stored if doubtful is None else sorted(set(doubtful).intersection(stored))
        audited = FileCheck([], []) if self._new else self._audit(looked_at)  # step 3
        wrong = audited.wrong
        if self._quiet():  # what waits now waits for nobody
            wrong += [self._unwritten(key) for key in audited.waiting]
        strange, blocked = self._strange(stored, ours, prune_all=prune_all)
        mendable = wrong if blocked is not None else wrong + strange
        if mendable:
            self._store.recheck(self._folder.identity.id, [one.key for one in mendable])  # step 4
            flushed += self.flush()
        return Published(flushed, wrong + strange, len(pruned), blocked)

    def inspect(
        self,
        doubtful: list[ProfileKey],
        keys: list[ProfileKey],
        ours: Callable[[ProfileKey], bool],
        *,
        prune_all: bool,
    ) -> tuple[list[BadFile], str | None]:
        """Name the files that step 4 would mend, and what the brake would hold; change nothing."""
        audited = self._audit(doubtful)
        strange, blocked = self._strange(keys, ours, prune_all=prune_all)
        unwritten = [self._unwritten(key) for key in audited.waiting] if self._quiet() else []
        return [*audited.wrong, *unwritten, *strange], blocked

    def _strange(
        self, stored: Iterable[ProfileKey], ours: Callable[[ProfileKey], bool], *, prune_all: bool
    ) -> tuple[list[BadFile], str | None]:
        """Name the files that are nobody's, and how many of all they are where that is too many to remove unasked."""
        slug = self._folder.identity.group_slug
        strange = orphan_files_of(self._store, self._folder, {file_name(key, slug) for key in stored}, ours)
        files = sum(1 for _ in self._folder.names()) if len(strange) >= LEAST else 0
        blocked = too_many(len(strange), files) and not prune_all
        return strange, f"{len(strange):,} of {files:,} files" if blocked else None

    def _quiet(self) -> bool:
        return all(due is None for due in self._store.next_due(self._folder.identity.id))

    def _audit(self, keys: list[ProfileKey]) -> FileCheck:
        """Compare the files of these profiles with their heads."""
        parts = list(pages(keys, _PROFILES_A_PIECE))
        self._meter.phase("comparing files", len(parts))
        found = FileCheck([], [])
        for one in self._pool.map(tasks.check_files_of, parts):
            found.wrong.extend(one.wrong)
            found.waiting.extend(one.waiting)
            self._meter.advance()
        return found

    def _unwritten(self, key: ProfileKey) -> BadFile:
        fault = Fault.MISSING if read_or_empty(self._folder, key) is None else Fault.STALE
        return BadFile(file_name(key, self._folder.identity.group_slug), fault, key)

    def flush(self) -> Flushed:
        """Flush until nothing is due, or until what was due at the beginning was, and every claim of then has ended.

        Others may make profiles due as fast as they are flushed; and buckets that heal are not flushed at all.
        """
        total, failures = Flushed(), _Failures(self._store.clock)
        until = self._store.clock() + int(_CLAIMS_END_SECONDS * 1e6)
        shares = [range(first, first + _BUCKETS_A_PIECE) for first in range(0, BUCKETS, _BUCKETS_A_PIECE)]
        while True:
            flushed = Flushed()
            for one in self._pool.map(tasks.flush, shares):
                flushed += one
                self._meter.advance(one.claims)
            total += flushed._replace(failed=0)
            failures.note(flushed.failed)
            due = None if self._flusher is None else self._flusher.wait()
            over = due is None or self._store.clock() > until
            if failures.rounds == _FAILING_ROUNDS or (over and due is not None and failures.rounds):
                raise OperatorError(
                    f"{failures.profiles} profiles can't be written or announced, the log says why; "
                    "mend that and run again"
                )
            if due is None or over:
                return total
            self._sleep(min(due, _STEP_SECONDS))


class _Failures:
    """Rounds in which profiles failed, without one in between that had time to do them again and did.

    What failed is due again only after a while: a round before that says nothing.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._last = 0
        self.rounds = 0
        self.profiles = 0

    def note(self, failed: int) -> None:
        """A round has ended."""
        if failed:
            self._last, self.profiles, self.rounds = self._clock(), failed, self.rounds + 1
        elif self._clock() > self._last + _AGAIN:
            self.rounds = 0


def prune(store: Store, key: ProfileKey, now: int) -> bool:
    """Remove a profile that holds nothing but comments that are gone; whether it was removed.

    While somebody tails the database it is kept for a day after its last comment went, so that an older event that is
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

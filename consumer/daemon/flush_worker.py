"""The flusher's thread: the flusher, and the scrub of its files."""

import math
from collections.abc import Callable, Mapping

import structlog

from projections.errors import OperatorError
from projections.profile_key import BUCKETS
from projections.store.rollback import RollbackDetector
from snapshot.flush.batch import Flushed
from snapshot.flush.epochs import States
from snapshot.flush.failures import named
from snapshot.flush.flusher import LEASE_SECONDS, Flusher
from snapshot.flush.scrub import Scrub

log = structlog.get_logger()

_CHECK_SECONDS = 1.0
_REPEAT_SECONDS = 5.0
"""What becomes due without a save (a claim that nobody ends, a file that another process wants again) is seen then."""
_RETRY_SECONDS = 0.25
_BEHIND_SECONDS = 0.25
_SOON_SECONDS = 0.5
_MIN_SECONDS = 0.02
_BLOCKED_SECONDS = 0.1
_WAITING_SECONDS = 20.0
_LASTS_SECONDS = 2.0
"""A claim that was ours may have ended since it was looked up: only what lasts is another's."""
_CLAIMS_END_SECONDS = LEASE_SECONDS + 5.0
"""What was due, or claimed by others, has been flushed by then, and what has to be flushed again as well."""
BEHIND_SECONDS = 5.0
"""How long profiles wait beyond their due time while the consumer is behind."""


def _never() -> bool:
    return False


class FlushWorker:
    """Flushes while anything is due, and checks the store and a few files every second. `now` is a monotonic clock.

    It sleeps until the next time that is known to be due, until `saved`, or until another process saved something,
    which the states of the buckets tell each second. While the consumer is `behind`, the next state of a profile is
    probably coming: then it waits a few seconds longer, or each would be written and announced several times, and the
    consumer be slower.

    Does nothing before the `detector` has accepted the store: whether it lost something while no process ran shows in
    its positions, when the loop first looks at them.
    """

    def __init__(
        self,
        flusher: Flusher,
        scrub: Scrub,
        detector: RollbackDetector,
        now: Callable[[], float],
        behind: Callable[[], bool] = _never,
    ) -> None:
        self.flushed = Flushed()
        self._behind = behind
        self._detector = detector
        self._flusher = flusher
        self._scrub = scrub
        self._now = now
        self._check_at = self._repeat_at = now()
        self._log_at = now() + _LASTS_SECONDS
        self._due_at = now()
        """When something may be due next, as far as is known."""
        self._saved = False
        """Whether something was saved since that was looked up."""
        self._states: States = ()
        self._read_at: float | None = None
        self._failing = 0
        """How many rounds in a row ended with nothing but failures."""
        self._asked_at: float | None = None
        self._expected = 0
        """How many claims have ended when all that waited when `idle` was first asked has been flushed."""
        self._unfinished = False
        """Whether the last batch was interrupted."""
        self._busy = False
        """Whether a batch is on its way: what is claimed then is most likely ours."""

    def saved(self, wake: Callable[[], object]) -> None:
        """Note, from any thread, that this process saved something, which is due soon; `wake` ends the sleep."""
        self._saved = True
        wake()

    def states(self) -> States:
        """The states of all buckets, if they were read a moment ago; else none."""
        recent = self._read_at is not None and self._now() - self._read_at < 2 * _CHECK_SECONDS
        return self._states if recent else ()

    def step(self) -> float:
        """Flush a batch; the seconds until the next, unless `saved` is called before."""
        if not self._detector.accepted:
            return _BLOCKED_SECONDS
        behind = self._behind()
        if self._now() >= self._check_at:
            self._check(BEHIND_SECONDS if behind else 0.0)
        now = self._now()
        if now < self._due_at and not (self._saved and self._due_at - now > _SOON_SECONDS):
            return max(min(self._due_at, self._check_at) - now, _MIN_SECONDS)
        self._due_at = now  # should the store be unreachable, the next step goes on here
        seconds = self._flush(behind=behind)
        self._due_at = self._now() + seconds
        return min(seconds, max(self._check_at - self._now(), 0.0))

    def _check(self, delay: float) -> None:
        """What is checked while idle, too."""
        now = self._now()
        self._check_at = now + _CHECK_SECONDS
        # Once more by the files: the store may have been lost since that was asked at the start, and be new by now.
        before, self._states = self._states, self._flusher.recover_lost(by_files=self._read_at is None)
        self._read_at = now
        repeat = now >= self._repeat_at
        if repeat or self._states != before:
            self._repeat_at = now + _REPEAT_SECONDS
            self._saved = True
            self._flusher.add_folder()  # a store that was lost knows nothing of the folder
            self._flusher.measure(delay)
        self._saved = bool(self._scrub.step(self._states)) or self._saved
        self._failing += self._scrub.trouble is not None

    def _flush(self, *, behind: bool) -> float:
        """Flush what is due; the seconds until something may be due."""
        if not self._unfinished:  # else a batch is to be ended, whatever is due
            self._saved = False  # before it is looked up, or a save in the same moment would be missed
            due = self._flusher.wait()
            if due is None or due > 0:
                return math.inf if due is None else max(due, _MIN_SECONDS)
        self._busy = self._unfinished = True
        try:
            flushed = self._flusher.flush(self._flusher.overdue(BEHIND_SECONDS) if behind else range(BUCKETS))
        finally:
            self._busy = False
        self._unfinished = False
        self.flushed += flushed
        if flushed.claims > flushed.failed:
            self._failing = 0
            return 0.0
        self._failing += bool(flushed.failed)
        if behind and not flushed.failed:
            return _BEHIND_SECONDS
        # What is due and can't be claimed is in a bucket that recovers.
        return _RETRY_SECONDS if flushed.failed else _BLOCKED_SECONDS

    @property
    def progress(self) -> int:
        """How many claims ended well."""
        return self.flushed.claims - self.flushed.failed

    @property
    def trouble(self) -> str | None:
        """Why the last profiles could not be flushed, or what is announced not be read."""
        return self._failure or self._scrub.unread

    @property
    def _failure(self) -> str | None:
        return self._flusher.trouble or self._scrub.trouble

    @property
    def failed(self) -> Mapping[str, str]:
        """The profiles (`user:slug`) that could not be flushed, with why."""
        return {named(key): reason for key, reason in dict(self._flusher.failed).items()}

    def refuse_failures(self, rounds: int) -> None:
        """Raise OperatorError where so many rounds ended with nothing but failures."""
        if self._failing >= rounds and self._failure is not None:
            raise OperatorError(self._failure)

    def waiting(self) -> bool:
        """Whether any profile waits to be flushed."""
        return self._flusher.waiting() > 0

    def ask_again(self) -> None:
        """What is due by now counts for `idle`, too."""
        self._asked_at = None

    def idle(self) -> bool:
        """Whether nothing is due, claimed, or still to be checked, save what became so after this was first asked.

        Others may make profiles due as fast as they are flushed. Raises OperatorError where some failed until then.
        """
        due = self._flusher.wait()
        now = self._now()
        if self._asked_at is None:
            self._asked_at, self._expected = now, self.flushed.claims + self._flusher.waiting()
        over = due is not None and now + due > self._asked_at + _CLAIMS_END_SECONDS
        if over and self.flushed.claims >= self._expected:  # what a slow disk gives back is due later than it was
            self.refuse_failures(0)
            due = None
        if due is None or due <= 1 or self._busy:
            self._log_at = max(self._log_at, now + _LASTS_SECONDS)
        elif now >= self._log_at:
            self._log_at = now + _WAITING_SECONDS
            log.info("waiting for profiles that another flusher claimed, or that have to be flushed again", seconds=due)
        return due is None and not self._scrub.pending_buckets()

"""The flusher's thread: the flusher, and the scrub of its files."""

from collections.abc import Callable, Mapping

import structlog

from projections.errors import OperatorError
from projections.profile_key import BUCKETS
from projections.store.rollback import RollbackDetector
from snapshot.flush.batch import Flushed
from snapshot.flush.failures import named
from snapshot.flush.flusher import LEASE_SECONDS, Flusher
from snapshot.flush.scrub import Scrub

log = structlog.get_logger()

_SCRUB_SECONDS = 1.0
_IDLE_SECONDS = 0.25
_MIN_SECONDS = 0.02
_BLOCKED_SECONDS = 0.1
_WAITING_SECONDS = 20.0
_CLAIMS_END_SECONDS = LEASE_SECONDS + 5.0
"""What was due, or claimed by others, has been flushed by then, and what has to be flushed again as well."""
BEHIND_SECONDS = 5.0
"""How long profiles wait beyond their due time while the consumer is behind."""


def _never() -> bool:
    return False


class FlushWorker:
    """Flushes while anything is due, and checks a few files every second. `now` is a monotonic clock in seconds.

    While the consumer is `behind`, the next state of a profile is probably coming: then it waits a few seconds longer,
    or each would be written and announced several times, and the consumer be slower.

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
        self._scrub_at = self._log_at = now()
        self._failing = 0
        """How many rounds in a row ended with nothing but failures."""
        self._asked_at: float | None = None
        self._expected = 0
        """How many claims have ended when all that waited when `idle` was first asked has been flushed."""
        self._busy = False
        """Whether a batch is on its way: what is claimed then is most likely ours."""

    def step(self) -> float:
        """Flush a batch; the seconds until the next."""
        if not self._detector.accepted:
            return _BLOCKED_SECONDS
        behind = self._behind()
        if self._now() >= self._scrub_at:
            self._scrub_at = self._now() + _SCRUB_SECONDS
            self._flusher.add_folder()  # a store that was lost knows nothing of the folder
            self._flusher.measure(BEHIND_SECONDS if behind else 0.0)
            self._flusher.recover_lost()
            self._scrub.step()
            self._failing += self._scrub.trouble is not None
        self._busy = True
        try:
            flushed = self._flusher.flush(self._flusher.overdue(BEHIND_SECONDS) if behind else range(BUCKETS))
        finally:
            self._busy = False
        self.flushed += flushed
        if flushed.claims > flushed.failed:
            self._failing = 0
            return 0.0
        if flushed.failed:
            self._failing += 1
            return _IDLE_SECONDS
        if behind:
            return _IDLE_SECONDS
        due = self._flusher.wait()
        if due is None:
            return _IDLE_SECONDS
        # What is due and can't be claimed is in a bucket that recovers.
        return min(max(due, _MIN_SECONDS), _IDLE_SECONDS) if due > 0 else _BLOCKED_SECONDS

    @property
    def progress(self) -> int:
        """How many claims ended well."""
        return self.flushed.claims - self.flushed.failed

    @property
    def trouble(self) -> str | None:
        """Why the last profiles could not be flushed."""
        return self._flusher.trouble or self._scrub.trouble

    @property
    def failed(self) -> Mapping[str, str]:
        """The profiles (`user:slug`) that could not be flushed, with why."""
        return {named(key): reason for key, reason in dict(self._flusher.failed).items()}

    def refuse_failures(self, rounds: int) -> None:
        """Raise OperatorError where so many rounds ended with nothing but failures."""
        if self._failing >= rounds and self.trouble is not None:
            raise OperatorError(self.trouble)

    def ask_again(self) -> None:
        """What is due by now counts for `idle`, too."""
        self._asked_at = None

    def idle(self) -> bool:
        """Whether nothing is due, claimed, or still to be checked, save what became so after this was first asked.

        Others may make profiles due as fast as they are flushed. Raises OperatorError where some failed until then.
        """
        due = self._flusher.wait()
        if self._asked_at is None:
            self._asked_at, self._expected = self._now(), self.flushed.claims + self._flusher.waiting()
        over = due is not None and self._now() + due > self._asked_at + _CLAIMS_END_SECONDS
        if over and self.flushed.claims >= self._expected:  # what a slow disk gives back is due later than it was
            self.refuse_failures(0)
            due = None
        if due is not None and due > 1 and not self._busy and self._now() >= self._log_at:
            self._log_at = self._now() + _WAITING_SECONDS
            log.info("waiting for profiles that another flusher claimed, or that have to be flushed again", seconds=due)
        return due is None and not self._scrub.pending_buckets()

"""A run that is to end has one limit for all that it waits for."""

import time
from collections.abc import Callable

from projections.errors import OperatorError

_SECONDS = 60.0


class ProgressLimit:
    """Gives up a run that has made no progress for `seconds`, whatever it waits for. `now` is a monotonic clock."""

    def __init__(self, now: Callable[[], float] = time.monotonic, seconds: float = _SECONDS) -> None:
        self._now = now
        self._seconds = seconds
        self._last: object = None
        self._moved_at = now()

    def check(self, progress: object, trouble: str | None) -> None:
        """Raise OperatorError where `progress` has been the same for too long; `trouble` says why, if that is known."""
        if progress != self._last:
            self._last, self._moved_at = progress, self._now()
        elif self._now() - self._moved_at >= self._seconds:
            reason = trouble or "other processes work on the same store and do not come to an end; see their logs"
            raise OperatorError(f"gave up after {self._seconds:.0f} s without progress: {reason}")

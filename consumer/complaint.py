"""Saying what is wrong without filling the log."""

from collections.abc import Callable

import structlog

log = structlog.get_logger()

_SECONDS = 60.0


class Complaint:
    """Warns of one trouble: at once when its reason is new, then once a minute."""

    def __init__(self, text: str, now: Callable[[], float]) -> None:
        self._text = text
        self._now = now
        self._reason = ""
        self._said_at = -_SECONDS

    def say(self, reason: str) -> None:
        """It is there, or still there."""
        now = self._now()
        if reason != self._reason or now - self._said_at >= _SECONDS:
            self._reason, self._said_at = reason, now
            log.warning(self._text, reason=reason)

    def over(self) -> None:
        """It is gone."""
        if self._reason:
            self._reason = ""
            log.info("going on")

"""Saying what is wrong without filling the log."""

from collections.abc import Callable

import structlog

log = structlog.get_logger()

_SECONDS = 60.0


class Complaint:
    """An error that stays for a while: said at once when it is new, then once a minute. `now` is in seconds."""

    def __init__(self, text: str, now: Callable[[], float]) -> None:
        self._text = text
        self._now = now
        self._reason: str | None = None
        self._said_at = 0.0

    def say(self, reason: str, **facts: object) -> None:
        """It is there, or still there."""
        if reason != self._reason or self._now() - self._said_at >= _SECONDS:
            self._reason, self._said_at = reason, self._now()
            log.error(self._text, reason=reason, **facts)

    def over(self) -> None:
        """It is gone."""
        if self._reason is not None:
            log.info("no longer so", what=self._text, reason=self._reason)
            self._reason = None

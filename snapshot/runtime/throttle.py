"""One trouble in the log: said often enough to be seen, and not at every attempt."""

from collections.abc import Callable

import structlog

log = structlog.get_logger()

_SECONDS = 60.0


class ThrottledWarning:
    """A trouble that stays for a while: said at once when its reason is new, then once a minute.

    `now` is in seconds. `grave`: said as an error, not as a warning.
    """

    def __init__(self, text: str, now: Callable[[], float], *, grave: bool = False) -> None:
        self._text = text
        self._now = now
        self._grave = grave
        self._reason: str | None = None
        self._said_at = 0.0

    def warn(self, reason: str, **facts: object) -> None:
        """It is so now."""
        if reason != self._reason or self._now() - self._said_at >= _SECONDS:
            self._reason, self._said_at = reason, self._now()
            say = log.error if self._grave else log.warning
            say(self._text, reason=reason, **facts)

    def resolved(self) -> None:
        """It is so no longer."""
        if self._reason is not None:
            log.info("no longer so", what=self._text, reason=self._reason)
            self._reason = None

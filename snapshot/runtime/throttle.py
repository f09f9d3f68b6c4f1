"""Lines that would fill the log: each kind is logged at once, and then once a minute while it lasts."""

from collections.abc import Callable
from typing import Literal

import structlog

log = structlog.get_logger()

_SECONDS = 60.0
_KINDS = 1_000


class Throttle:
    """Tells of each kind of line whether it may be logged now. `now` is in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last: dict[str, float] = {}

    def passes(self, kind: str) -> bool:
        """Whether none of this kind passed within the last minute; then this one has."""
        now = self._now()
        if kind in self._last and now - self._last[kind] < _SECONDS:
            return False
        if len(self._last) >= _KINDS:  # kinds that are made of changing text
            self._last.clear()
        self._last[kind] = now
        return True


class ThrottledWarning:
    """A condition that may last: each of its reasons is logged at once, then once a minute; its end is logged once.

    `now` is in seconds. A condition that ends within `quiet_seconds` seconds is not logged.
    """

    def __init__(
        self,
        text: str,
        now: Callable[[], float],
        *,
        level: Literal["warning", "error"] = "warning",
        quiet_seconds: float = 0.0,
    ) -> None:
        self._text = text
        self._now = now
        self._level = level
        self._quiet_seconds = quiet_seconds
        self._throttle = Throttle(now)
        self._since: float | None = None
        self._reason: str | None = None

    @property
    def reason(self) -> str | None:
        """Why the condition is present, as last logged; None where it is not."""
        return self._reason

    def warn(self, reason: str, **facts: object) -> None:
        """The condition is present."""
        if self._since is None:
            self._since = self._now()
        if self._now() - self._since >= self._quiet_seconds and self._throttle.passes(reason):
            self._reason = reason
            getattr(log, self._level)(self._text, reason=reason, **facts)

    def resolved(self) -> None:
        """The condition is no longer present."""
        if self._since is None:
            return
        if self._reason is not None:
            seconds = round(self._now() - self._since, 1)
            log.info("recovered: %s", self._text, reason=self._reason, seconds=seconds)
        self._since, self._reason, self._throttle = None, None, Throttle(self._now)

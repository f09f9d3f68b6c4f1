"""Holding back what disappears: who is asked, and how the log says it."""

from collections.abc import Callable
from typing import NamedTuple

import structlog

from snapshot.brake import too_many

log = structlog.get_logger()

_SECONDS = 60.0


class Ended(NamedTuple):
    """How many of what would end, of how many."""

    what: str
    ended: int
    total: int


class Brake:
    """Decides on disappearances by the rule of reconcile; what it holds, the log says once a minute."""

    def __init__(self, *, prune_all: bool, now: Callable[[], float]) -> None:
        self._prune_all = prune_all
        self._now = now
        self._said: dict[str, float] = {}

    def holds(self, where: str, *counts: Ended) -> bool:
        """Whether to hold back all of this: over a tenth and at least 20 of a kind would end."""
        found = [f"{one.ended:,} of {one.total:,} {one.what}" for one in counts if too_many(one.ended, one.total)]
        return bool(found) and self.hold(where, " and ".join(found))

    def hold(self, where: str, what: str) -> bool:
        """Hold this back, unless it is confirmed."""
        if self._prune_all:
            return False
        if self._now() - self._said.get(where, -_SECONDS) >= _SECONDS:
            self._said[where] = self._now()
            log.error(
                "held back: so much disappeared from the database that it may be a mistake; "
                "restore it, or start again with --prune-all to confirm",
                where=where,
                what=what,
            )
        return True

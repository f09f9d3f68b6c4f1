"""Holding back what disappears: who is asked, and how the log says it."""

from collections.abc import Callable
from typing import NamedTuple

import structlog

from snapshot.deletion_guard import too_many

log = structlog.get_logger()

_SECONDS = 60.0


class DeletionCount(NamedTuple):
    """How many of what would end, of how many."""

    what: str
    ended: int
    total: int


class DeletionGuard:
    """Decides on disappearances by the rule of reconcile; what it holds, the log says once a minute.

    `where` names what decides: each has its own, and its last decision holds.
    """

    def __init__(self, *, prune_all: bool, now: Callable[[], float]) -> None:
        self._prune_all = prune_all
        self._now = now
        self._held: dict[str, str] = {}
        self._said: dict[str, float] = {}

    @property
    def is_blocked(self) -> bool:
        """Whether anything is held back."""
        return bool(self._held)

    def is_blocked_at(self, where: str) -> bool:
        """Whether the last decision there was to hold."""
        return where in self._held

    def blocks(self, where: str, *counts: DeletionCount) -> bool:
        """Whether to hold back all of this: over a tenth and at least 20 of a kind would end."""
        found = [f"{one.ended:,} of {one.total:,} {one.what}" for one in counts if too_many(one.ended, one.total)]
        return self.block(where, " and ".join(found) or None)

    def block(self, where: str, what: str | None) -> bool:
        """Hold this back (None: there is nothing to hold), unless it is confirmed."""
        if what is None or self._prune_all:
            self._held.pop(where, None)
            return False
        self._held[where] = what
        self.remind()
        return True

    def remind(self) -> None:
        """Say again what is held back, once a minute."""
        for where, what in self._held.items():
            if self._now() - self._said.get(where, -_SECONDS) >= _SECONDS:
                self._said[where] = self._now()
                log.error(
                    "held back: so much disappeared from the database that it may be a mistake; "
                    "restore it, or confirm with snapshot-rebuild --all --prune-all",
                    where=where,
                    what=what,
                )

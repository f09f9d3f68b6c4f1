"""Whether a tail that holds something back begins anew, as if it were started again, and judges it once more.

What it held back may be settled: the database was restored, or a rebuild was told that it may end. Only a comparison
of the whole store with the rows can tell, so there is a reason for each.
"""

from collections.abc import Callable

import structlog

from consumer.tail import Tail
from projections.store import Store
from snapshot import repaired

log = structlog.get_logger()

PATIENCE = 600.0
"""Seconds between looks without a rebuild: each reads all rows."""


class SecondLook:
    """Made before a tail is opened. Raises StoreUnavailableError."""

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._opened_at = now()
        self._noted = repaired.noted(store)  # before anything is read: a rebuild that ends meanwhile is one more look

    def wanted(self, tail: Tail) -> bool:
        """Whether something is held back, and something happened since that may have settled it."""
        if not tail.holding:
            return False
        if repaired.noted(self._store) != self._noted:
            log.info("a rebuild repaired something meanwhile: looking again at what is held back")
            return True
        # What is held from the start, nothing else looks at again.
        if self._now() - self._opened_at < PATIENCE or not tail.holds_an_old_start:
            return False
        log.info("looking again at what is held back")
        return True

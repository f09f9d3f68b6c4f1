"""One term of the lease: what the last holder left, and what this one leaves."""

from collections.abc import Callable

import msgspec
import structlog

from consumer.tail.lease import TailLease
from consumer.tail.rows.revisions import Revisions
from consumer.tail.state import RESERVE, TailState
from consumer.tail.tail import Tail
from projections.store.protocol import Store
from snapshot.reconcile import notice

log = structlog.get_logger()

RESCAN_SECONDS = 600.0
"""Between re-scans without a rebuild: each reads all rows."""


class RescanPolicy:
    """Whether a tail with blocked deletions starts over, as if it were started again, and judges them once more.

    They may be settled: the database was restored, or a rebuild confirmed them. Only comparing the whole store with the
    rows can tell, so there is a reason for each re-scan. Made before a tail is opened. Raises StoreUnavailableError.
    """

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._opened_at = now()
        self._last_notice = notice.read(store)  # before any row: a rebuild that ends meanwhile costs one more re-scan

    def due(self, tail: Tail) -> bool:
        """Whether deletions are blocked, and something happened since that may have settled them."""
        if not tail.is_blocked:
            return False
        if notice.read(self._store) != self._last_notice:
            log.info("a rebuild made repairs: re-scanning for the deletions that are blocked")
            return True
        # What the start blocked, nothing else looks at again.
        if self._now() - self._opened_at < RESCAN_SECONDS or not tail.is_blocked_since_start:
            return False
        log.info("re-scanning for the deletions that are blocked")
        return True


class LeaseTerm:
    """Begins with the document of the last holder: revisions and batch numbers lie above its ceiling.

    Raises StoreUnavailableError wherever it reads or writes. `state` is what is written next, without the ceiling.
    """

    def __init__(self, lease: TailLease, clock: Callable[[], int], now: Callable[[], float]) -> None:
        self._lease = lease
        self.rescan = RescanPolicy(lease.store, now)
        self.before = lease.load()
        self.state = self.before or TailState()
        self._ceiling = self.state.ceiling
        self.first = 0 if self.before is None else self._ceiling + 1
        """No batch number or revision from here on was ever handed out."""
        self.revisions = Revisions(clock, self.first)

    def reserve(self) -> bool:
        """Keep the ceiling above everything that is handed out; False: the lease was lost, hand out nothing."""
        return self.revisions.last <= self._ceiling or self._write(self.revisions.last + RESERVE)

    def save(self, state: TailState) -> bool:
        """Write where a successor goes on; False: the lease was lost."""
        self.state = state
        return self._write(self._ceiling)

    def end(self) -> bool:
        """Write the document for the last time: nothing above what was handed out is reserved any more."""
        return self._write(self.revisions.last)

    def _write(self, ceiling: int) -> bool:
        if not self._lease.save(msgspec.structs.replace(self.state, ceiling=ceiling)):
            return False
        self._ceiling = ceiling  # only now: while the store is unavailable, nothing is reserved
        return True

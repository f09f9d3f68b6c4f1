"""One term of the lease: what the last holder left, and what this one leaves."""

from collections.abc import Callable, Mapping

import msgspec
import structlog

from consumer.tail.lease import TailLease
from consumer.tail.rows.revisions import Revisions
from consumer.tail.state import RESERVE, TailState
from consumer.tail.tail import Tail
from projections.store.protocol import Store
from snapshot.reconcile import notice

log = structlog.get_logger()

PATIENCE = 600.0
"""Seconds between looks without a rebuild: each reads all rows."""


class RescanPolicy:
    """Whether a tail that holds something back begins anew, as if it were started again, and judges it once more.

    What it held back may be settled: the database was restored, or a rebuild was told that it may end. Only comparing
    the whole store with the rows can tell, so there is a reason for each. Made before a tail is opened.
    Raises StoreUnavailableError.
    """

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._opened_at = now()
        self._noted = notice.read(store)  # before anything is read: a rebuild that ends meanwhile is one more look

    def due(self, tail: Tail) -> bool:
        """Whether something is held back, and something happened since that may have settled it."""
        if not tail.is_blocked:
            return False
        if notice.read(self._store) != self._noted:
            log.info("a rebuild repaired something meanwhile: looking again at what is held back")
            return True
        # What is held from the start, nothing else looks at again.
        if self._now() - self._opened_at < PATIENCE or not tail.is_blocked_since_start:
            return False
        log.info("looking again at what is held back")
        return True


class LeaseTerm:
    """Begins with the document of the last holder: revisions and numbers lie above its ceiling.

    Raises StoreUnavailableError wherever it reads or writes. `state` is what is written next, without the ceiling.
    """

    def __init__(self, lease: TailLease, clock: Callable[[], int]) -> None:
        self._lease = lease
        self.rescan = RescanPolicy(lease.store, lease.now)
        self.before = lease.load()
        self.state = self.before or TailState()
        self._ceiling = self.state.ceiling
        self.first = 0 if self.before is None else self._ceiling + 1
        """No number or revision from here on was ever given out."""
        self.revisions = Revisions(clock, self.first)

    def reserve(self) -> bool:
        """Keep the ceiling above everything that is handed out; False: the lease was lost, hand out nothing."""
        if self.revisions.last <= self._ceiling:
            return True
        ceiling = self.revisions.last + RESERVE
        if not self._save(ceiling):
            return False
        self._ceiling = ceiling  # only now: where the store was away, nothing is reserved
        return True

    def put(self, state: TailState, positions: Mapping[str, int], position: int) -> None:
        """Have this state written next: these positions were acknowledged."""
        self.state = msgspec.structs.replace(state, positions=dict(positions), position=position)

    def save(self) -> bool:
        """Write the document; False: the lease was lost."""
        return self._save(self._ceiling)

    def end(self) -> bool:
        """Write the document for the last time: nothing above what was handed out is reserved any more."""
        self._ceiling = self.revisions.last
        return self.save()

    def _save(self, ceiling: int) -> bool:
        return self._lease.save(msgspec.structs.replace(self.state, ceiling=ceiling))

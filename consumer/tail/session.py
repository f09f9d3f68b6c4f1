"""One term of the lease: what the last holder left, and what this one leaves."""

from collections.abc import Callable

import msgspec
import structlog

from consumer.tail.lease import TailLease
from consumer.tail.rows.revisions import Revisions
from consumer.tail.state import POLL_RESERVE, RESERVE, TailState
from consumer.tail.tail import Tail
from projections.store.protocol import Store
from snapshot.reconcile import notice

log = structlog.get_logger()


class RescanPolicy:
    """Whether a tail with blocked deletions starts over, as if it were started again, and judges them once more.

    Where a rebuild confirmed them, only comparing the whole store with the rows can tell what is left. Made before a
    tail is opened. Raises StoreUnavailableError.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last_notice = notice.read_confirmed(
            store
        )  # before any row: a rebuild that ends meanwhile costs one more re-scan

    def due(self, tail: Tail) -> bool:
        """Whether deletions are blocked, and a rebuild removed all that it found since."""
        if not tail.is_blocked or notice.read_confirmed(self._store) == self._last_notice:
            return False
        log.info("a rebuild made repairs: re-scanning for the deletions that are blocked")
        return True


class LeaseTerm:
    """Begins with the document of the last holder: revisions and batch numbers lie above its ceiling.

    Raises StoreUnavailableError wherever it reads or writes. `state` is what is written next, without the ceiling.
    """

    def __init__(self, lease: TailLease, clock: Callable[[], int]) -> None:
        self._lease = lease
        self.rescan = RescanPolicy(lease.store)
        self.before = lease.load()
        self.state = self.before or TailState()
        self._clock = clock
        self._ceiling = self.state.ceiling
        self._poll = self._polls_until = self.state.begun_until
        self.first = 0 if self.before is None else self._ceiling + 1
        """No batch number or revision from here on was ever handed out."""
        self.revisions = Revisions(clock, self.first)

    def reserve(self) -> bool:
        """Keep the ceiling above everything that is handed out; False: the lease was lost, hand out nothing."""
        last = self.revisions.last
        return last <= self._ceiling or self._write(last + RESERVE, self._polls_until)

    def begin_poll(self) -> int | None:
        """Give a poll that begins now its place, see `Moment`; None: the lease was lost.

        Places lie above `begun_until` of every document that was written before. Usually they are the database's time;
        if that clock goes back, they go on from where they were.
        """
        place, until = self._clock(), self._polls_until
        if place <= self._poll:
            place = until = until + 1
        elif place > until:
            until = place + POLL_RESERVE
        if until != self._polls_until and not self._write(self._ceiling, until):
            return None
        self._poll = place
        return place

    def save(self, state: TailState) -> bool:
        """Write where a successor goes on; False: the lease was lost."""
        self.state = state
        return self._write(self._ceiling, self._polls_until)

    def end(self) -> bool:
        """Write the document for the last time: nothing above what was handed out is reserved any more."""
        return self._write(self.revisions.last, self._polls_until)

    def _write(self, ceiling: int, polls_until: int) -> bool:
        if not self._lease.save(msgspec.structs.replace(self.state, ceiling=ceiling, begun_until=polls_until)):
            return False
        self._ceiling, self._polls_until = ceiling, polls_until  # not while the store is unavailable
        return True

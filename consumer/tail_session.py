"""One term of the lease: what the last holder left, and what this one leaves."""

from collections.abc import Callable, Mapping

import msgspec

from consumer.revisions import Revisions
from consumer.second_look import SecondLook
from consumer.tail_lease import TailLease
from consumer.tail_state import RESERVE, TailState


class Session:
    """Begins with the document of the last holder: revisions and numbers lie above its ceiling.

    Raises StoreUnavailableError wherever it reads or writes. `state` is what is written next, without the ceiling.
    """

    def __init__(self, lease: TailLease, clock: Callable[[], int]) -> None:
        self._lease = lease
        self.second_look = SecondLook(lease.store, lease.now)
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

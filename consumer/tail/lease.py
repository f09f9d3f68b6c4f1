"""The lease that only one tail holds, and the document that only its holder writes."""

from collections.abc import Callable

import structlog

from consumer.tail.state import TailState, decode, encode
from projections.store.protocol import Store, StoreUnavailableError
from projections.watermark import TAIL

log = structlog.get_logger()

RENEWALS = 3
"""How often a lease is renewed while it lasts."""


class TailLease:
    """One process' view of the lease. `now` is a monotonic clock in seconds, `length` in seconds."""

    def __init__(self, store: Store, token: str, length: float, now: Callable[[], float]) -> None:
        self.store = store
        self.now = now
        self._token = token
        self._length = length
        self._asked_at = -length
        self._until = now()
        self._seen: bytes | None = None
        self.unavailable = False
        """Whether the store could not be reached when the lease was last asked for."""
        self.held = False
        self.renewed = False
        """Whether the last `hold` took or renewed it, not only remembered it."""

    def hold(self) -> bool:
        """Take or renew the lease if that is due; whether it is ours.

        Where the store is away, it is ours for as long as nobody else can have taken it. Raises nothing.
        """
        now = self.now()
        self.renewed = False
        if now - self._asked_at >= self._length / RENEWALS:
            self._asked_at = now
            try:
                self.held = self.renewed = self._ask(lapsed=self.held and now >= self._until)
                self._until = now + self._length
                self.unavailable = False
            except StoreUnavailableError:
                self.unavailable = True
        self.held = self.held and self.now() < self._until
        return self.held

    def _ask(self, *, lapsed: bool) -> bool:
        """Where it ran out and somebody worked meanwhile, this term has ended, even if the lease is free again."""
        granted = self.store.lease(TAIL, self._token, self._length)
        return granted and not (lapsed and self.store.document(TAIL) != self._seen)

    def tell(self) -> None:
        """Say in the log whose the lease is, after that changed."""
        if self.held:
            log.info("tailing the database")
        elif self.unavailable:
            log.warning("the tail waits: its lease can't be held while the store is away")
        else:
            log.info("another process tails the database; waiting to take over")

    def load(self) -> TailState | None:
        """Read the document; None where there is none."""
        found = self._seen = self.store.document(TAIL)
        return None if found is None else decode(found)

    def save(self, state: TailState) -> bool:
        """Write the document; False: the lease is another's."""
        document = encode(state)
        self.held = self.store.put_document(TAIL, self._token, document)
        if self.held:
            self._seen = document
        return self.held

    def release(self) -> None:
        """Let others have it at once."""
        self.held = False
        self.store.release(TAIL, self._token)

"""The lease that only one tail holds, and the document that only its holder writes."""

from collections.abc import Callable

import structlog

from consumer.tail.state import TailState, decode, encode
from projections.store.protocol import Store, StoreUnavailableError
from projections.watermark import TAIL, parse

log = structlog.get_logger()

RENEWALS = 3
"""How often a lease is renewed while it lasts."""


class TailLease:
    """One process' view of the lease. `now` is a monotonic clock in seconds, `length` in seconds."""

    def __init__(self, store: Store, token: str, length: float, now: Callable[[], float]) -> None:
        self.store = store
        self._now = now
        self._token = token
        self._length = length
        self._asked_at = -length
        self._until = now()
        self._document: bytes | None = None
        self.unavailable = False
        """Whether the store could not be reached when the lease was last asked for."""
        self.held = False
        self.terms = 0
        """How many terms this process has begun: a lease that was lost and won again is another term."""
        self.just_renewed = False
        """Whether the last `renew` took or renewed it, not only remembered it."""

    def renew(self) -> bool:
        """Take or renew the lease if that is due; whether it is ours.

        While the store is unreachable, it is ours for as long as no other process can have taken it. Raises nothing.
        """
        now = self._now()
        self.just_renewed = False
        if now - self._asked_at >= self._length / RENEWALS:
            self._asked_at = now
            try:
                granted = self._ask(lapsed=self.held and now >= self._until)
            except StoreUnavailableError:
                self.unavailable = True
            else:
                self.terms += granted and not self.held
                self.held = self.just_renewed = granted
                self._until = now + self._length
                self.unavailable = False
        self.held = self.held and self._now() < self._until
        return self.held

    def _ask(self, *, lapsed: bool) -> bool:
        """Where it ran out and another process worked meanwhile, this term has ended, though the lease is free again.

        Then it is refused this once: the next request begins another term.
        """
        granted = self.store.lease(TAIL, self._token, self._length)
        return granted and not (lapsed and self.store.document(TAIL) != self._document)

    def log_holder(self) -> None:
        """Log who holds the lease, after that changed."""
        if self.held:
            log.info("tailing the database")
        elif self.unavailable:
            log.warning("waiting for the store: the lease of the tail cannot be renewed")
        else:
            log.info("another process tails the database; waiting to take over")

    def load(self) -> TailState | None:
        """Read the document; None where there is none."""
        self._document = self.store.document(TAIL)
        return parse(self._document, decode)

    def save(self, state: TailState) -> bool:
        """Write the document; False: the lease is another's, or was.

        It may have run out while a large batch was applied on a slow machine: then it is taken again.
        """
        document = encode(state)
        put = self.store.put_document(TAIL, self._token, document)
        if not put and self.held and self._ask(lapsed=True):
            put = self.store.put_document(TAIL, self._token, document)
        self.held = put
        if put:
            self._document = document
        return put

    def release(self) -> None:
        """Let others have it at once."""
        self.held = False
        self.store.release(TAIL, self._token)

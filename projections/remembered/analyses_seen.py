"""Whether there ever were analyses, as the store remembers it: see `projections.database.protocol.AnalysesSeen`."""

import secrets
from collections.abc import Callable

from projections.database.protocol import AnalysesSeen
from projections.store.protocol import Store

NAME = "analyses"
"""Of the document, and of the lease under which it is written."""
_SECONDS = 10.0


class SeenInStore:
    """`store` is called when it is needed. Both methods raise StoreUnavailableError."""

    def __init__(self, store: Callable[[], Store]) -> None:
        self._store = store

    def get(self) -> bool:
        """Whether analyses were seen."""
        return bool(self._store().document(NAME))

    def put(self, *, seen: bool) -> None:
        """Remember it; where another process holds the lease, that one is doing the same."""
        store, token = self._store(), secrets.token_hex(8)
        if self.get() != seen and store.lease(NAME, token, _SECONDS):
            store.put_document(NAME, token, b"{}" if seen else b"")
            store.release(NAME, token)


class SeenAnywhere:
    """In any of these places. `confirmed`: they may be gone for good, and where they are, that is remembered.

    `read_only`: nothing is remembered, as in a dry run.
    """

    def __init__(self, *places: AnalysesSeen, confirmed: bool = False, read_only: bool = False) -> None:
        self._places = places
        self._confirmed = confirmed
        self._read_only = read_only

    def get(self) -> bool:
        """Whether analyses were seen."""
        seen = any(place.get() for place in self._places)
        if seen and self._confirmed:
            self.put(seen=False)
        return seen and not self._confirmed

    def put(self, *, seen: bool) -> None:
        """Remember it in all places."""
        for place in () if self._read_only else self._places:
            place.put(seen=seen)

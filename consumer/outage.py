"""The end of an outage of the store: with its disk full it answers reads, so only a write proves it."""

from projections.store.protocol import Store

_SECONDS = 0.001


def prove_writable(store: Store) -> None:
    """Write a lease that nobody needs, and that ends at once. Raises StoreUnavailableError."""
    store.lease("outage", "", _SECONDS)

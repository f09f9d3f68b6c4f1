"""Tells the tail that a rebuild repairs something: what differs then is no drift, and what is blocked is asked again.

The document `repaired` is another from the begin of each such repair on, and again from its end on; its content means
nothing else.
"""

import secrets

from projections.store.protocol import Store

_REPAIRED = "repaired"
_SECONDS = 5.0


def post(store: Store, at: int, token: str | None = None) -> None:
    """Post a notice; `at` is in microseconds. Where another run is just posting one, that one serves for both."""
    token = token or secrets.token_hex(8)
    if store.lease(_REPAIRED, token, _SECONDS):
        store.put_document(_REPAIRED, token, f"{at} {token}".encode())
        store.release(_REPAIRED, token)


def read(store: Store) -> bytes | None:
    """Read the last notice; None where there is none."""
    return store.document(_REPAIRED)

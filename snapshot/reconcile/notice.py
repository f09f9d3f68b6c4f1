"""Tells the tail that a rebuild repairs something: what differs then is no drift.

The document `repaired` is another from the begin of each such repair on, and again from its end on; its content means
nothing else. So is `confirmed` where the rebuild was to remove whatever it finds: then what is blocked is asked again.
Not after others: what such a one removed would be missing where the deletion guard judges the rest.
"""

import secrets

from projections.store.protocol import Store

_REPAIRED, _CONFIRMED = "repaired", "confirmed"
_SECONDS = 5.0


def post(store: Store, at: int, token: str | None = None, *, confirmed: bool = False) -> None:
    """Post a notice; `at` is in microseconds. Where another run is just posting one, that one serves for both."""
    token = token or secrets.token_hex(8)
    for document in (_REPAIRED, _CONFIRMED) if confirmed else (_REPAIRED,):
        if store.lease(document, token, _SECONDS):
            store.put_document(document, token, f"{at} {token}".encode())
            store.release(document, token)


def read(store: Store) -> bytes | None:
    """Read the last notice; None where there is none."""
    return store.document(_REPAIRED)


def read_confirmed(store: Store) -> bytes | None:
    """Read the last notice of a rebuild that was to remove whatever it finds; None where there is none."""
    return store.document(_CONFIRMED)

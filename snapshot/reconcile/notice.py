"""That a rebuild repaired something: a tail that holds back what disappeared looks again then.

The document `repaired` differs after each such run. What is in it says nothing else to anybody.
"""

import secrets

from projections.store.protocol import Store

_REPAIRED = "repaired"
_SECONDS = 5.0


def post(store: Store, at: int, token: str | None = None) -> None:
    """Leave word; `at` is in microseconds. Where another run is just doing that, it speaks for both."""
    token = token or secrets.token_hex(8)
    if store.lease(_REPAIRED, token, _SECONDS):
        store.put_document(_REPAIRED, token, f"{at} {token}".encode())
        store.release(_REPAIRED, token)


def read(store: Store) -> bytes | None:
    """Read the last word; None where there is none."""
    return store.document(_REPAIRED)

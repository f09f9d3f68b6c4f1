"""Named leases, and the small documents that belong to them, in memory."""

import threading
from collections.abc import Callable


def micros(seconds: float) -> int:
    """Seconds as microseconds."""
    return int(seconds * 1e6)


class MemoryLeases:
    """Implements `lease` to `put_document` of `projections.store.Store`."""

    _clock: Callable[[], int]
    _lock: threading.RLock
    _leases: dict[str, tuple[int, str]]
    _documents: dict[str, bytes]

    def lease(self, name: str, token: str, seconds: float) -> bool:
        """See the protocol."""
        with self._lock:
            end, holder = self._leases.get(name, (0, ""))
            if holder != token and end > self._clock():
                return False
            self._leases[name] = (self._clock() + micros(seconds), token)
            return True

    def release(self, name: str, token: str) -> None:
        """See the protocol."""
        with self._lock:
            if self._leases.get(name, (0, ""))[1] == token:
                del self._leases[name]

    def leased(self, name: str) -> bool:
        """See the protocol."""
        with self._lock:
            return self._leases.get(name, (0, ""))[0] > self._clock()

    def document(self, name: str) -> bytes | None:
        """See the protocol."""
        with self._lock:
            return self._documents.get(name)

    def put_document(self, name: str, token: str, value: bytes) -> bool:
        """See the protocol."""
        with self._lock:
            end, holder = self._leases.get(name, (0, ""))
            if holder != token or end <= self._clock():
                return False
            self._documents[name] = value
            return True

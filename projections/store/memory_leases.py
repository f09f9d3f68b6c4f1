"""The clock, the leases and the documents of the store in memory."""

import threading
from collections.abc import Callable

from projections.store.protocol import Description


def micros(seconds: float) -> int:
    """Seconds as microseconds."""
    return int(seconds * 1e6)


class MemoryLeases:
    """`clock` gives microseconds."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._leases: dict[str, tuple[int, str]] = {}
        self._documents: dict[str, bytes] = {}
        self._processes: dict[str, tuple[int, Description]] = {}

    def clock(self) -> int:
        return self._clock()

    def lease(self, name: str, token: str, seconds: float) -> bool:
        with self._lock:
            end, holder = self._leases.get(name, (0, ""))
            if holder != token and end > self._clock():
                return False
            self._leases[name] = (self._clock() + micros(seconds), token)
            return True

    def release(self, name: str, token: str) -> None:
        with self._lock:
            if self._leases.get(name, (0, ""))[1] == token:
                del self._leases[name]

    def leased(self, name: str) -> bool:
        with self._lock:
            return self._leases.get(name, (0, ""))[0] > self._clock()

    def document(self, name: str) -> bytes | None:
        with self._lock:
            return self._documents.get(name)

    def put_document(self, name: str, token: str, value: bytes) -> bool:
        with self._lock:
            end, holder = self._leases.get(name, (0, ""))
            if holder != token or end <= self._clock():
                return False
            self._documents[name] = value
            return True

    def describe_process(self, name: str, value: bytes, seconds: float) -> None:
        with self._lock:
            self._processes.pop(name, None)
            if value:
                now = self._clock()
                self._processes[name] = now + micros(seconds), Description(now, value)

    def processes(self) -> dict[str, Description]:
        with self._lock:
            return {name: one for name, (until, one) in self._processes.items() if until > self._clock()}

"""What this process has seen of the store's buckets: a store that fell back is noticed before any of it is shown."""

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

from projections.store.protocol import BucketState, Store


class Look(NamedTuple):
    """The marks of all buckets, and for those that fell back since the last look how that shows."""

    states: list[BucketState | None]
    rolled_back: Mapping[int, str]


class RollbackDetector:
    """Remembers the furthest state of each bucket's mark. May be used by several threads.

    A bucket that fell back stays so until its epoch is raised above the one seen, or `accept`.
    """

    def __init__(self, store: Store, lock: AbstractContextManager[object] | None = None) -> None:
        self._store = store
        self._lock = lock or threading.Lock()  # held while marks are read, or an older reading could look like a fall
        self._seen: dict[int, BucketState] = {}
        self.accepted = False
        """Whether the store was found to be whole, or to be healing, at least once."""

    def look(self) -> Look:
        """Read the marks and compare them with what was seen before. Raises StoreUnavailableError."""
        with self._lock:
            states = self._store.bucket_states()
            rolled_back: dict[int, str] = {}
            for bucket, state in enumerate(states):
                reason = _fall(self._seen.get(bucket), state)
                if reason is not None:
                    rolled_back[bucket] = reason
                elif state is not None:
                    self._seen[bucket] = state
            return Look(states, rolled_back)

    def accept(self) -> list[BucketState | None]:
        """Take the present marks for what they are: whatever was lost is being healed."""
        with self._lock:
            states = self._store.bucket_states()
            self._seen = {bucket: state for bucket, state in enumerate(states) if state is not None}
            self.accepted = True
            return states


def _fall(seen: BucketState | None, now: BucketState | None) -> str | None:
    """How this is less than what was seen, if it is. A higher epoch is somebody's answer to a loss."""
    if seen is None or (now is not None and now.epoch > seen.epoch):
        return None
    if now is None:
        return "its mark is missing"
    if now.instance_id != seen.instance_id:
        return "it was born anew"
    if now.epoch < seen.epoch:
        return f"it is in epoch {now.epoch}, and {seen.epoch} was seen"
    if now.writes < seen.writes:
        return f"it counts {now.writes} writes, and {seen.writes} were seen"
    return None

"""Notices a store that lost writes, by what this process saw of its buckets before; so nothing of it is published."""

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

from projections.store.protocol import BucketState, Store


class StatesRead(NamedTuple):
    """The states of all buckets, and for each that rolled back since it was last read why that is known."""

    states: list[BucketState | None]
    rolled_back: Mapping[int, str]


class RollbackDetector:
    """Remembers the highest state of each bucket that was read. May be used by several threads.

    A bucket that rolled back stays so until its epoch is raised above the one seen, or `accept`.
    """

    def __init__(self, store: Store, lock: AbstractContextManager[object] | None = None) -> None:
        self._store = store
        self._lock = lock or threading.Lock()  # or an older reading would look like a rollback
        self._seen: dict[int, BucketState] = {}
        self.accepted = False
        """Whether the store was found to be complete, or recovering, at least once."""

    def read(self) -> StatesRead:
        """Read the states and compare them with what was seen before. Raises StoreUnavailableError."""
        with self._lock:
            states = self._store.bucket_states()
            rolled_back: dict[int, str] = {}
            for bucket, state in enumerate(states):
                reason = find_rollback(self._seen.get(bucket), state)
                if reason is not None:
                    rolled_back[bucket] = reason
                elif state is not None:
                    self._seen[bucket] = state
            return StatesRead(states, rolled_back)

    def accept(self) -> list[BucketState | None]:
        """Take the present states as a new start: whatever was lost is being recovered."""
        with self._lock:
            states = self._store.bucket_states()
            self._seen = {bucket: state for bucket, state in enumerate(states) if state is not None}
            self.accepted = True
            return states


def find_rollback(seen: BucketState | None, now: BucketState | None) -> str | None:
    """Name how this is less than what was seen, if it is. A higher epoch: another process answers a loss already."""
    if seen is None or (now is not None and now.epoch > seen.epoch):
        return None
    if now is None:
        return "its state is missing"
    if now.instance_id != seen.instance_id:
        return "it was recreated"
    if now.epoch < seen.epoch:
        return f"it is in epoch {now.epoch}, and {seen.epoch} was seen"
    if now.writes < seen.writes:
        return f"it counts {now.writes} writes, and {seen.writes} were seen"
    return None

"""What this process has seen of the store's buckets: a store that fell back is noticed before any of it is shown."""

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

from projections.store.protocol import Mark, Store


class Look(NamedTuple):
    """The marks of all buckets, and for those that fell back since the last look how that shows."""

    marks: list[Mark | None]
    fallen: Mapping[int, str]


class Witness:
    """Remembers the furthest state of each bucket's mark. May be used by several threads.

    A bucket that fell back stays so until its epoch is raised above the one seen, or `accept`.
    """

    def __init__(self, store: Store, lock: AbstractContextManager[object] | None = None) -> None:
        self._store = store
        self._lock = lock or threading.Lock()  # held while marks are read, or an older reading could look like a fall
        self._seen: dict[int, Mark] = {}
        self.accepted = False
        """Whether the store was found to be whole, or to be healing, at least once."""

    def look(self) -> Look:
        """Read the marks and compare them with what was seen before. Raises StoreUnavailableError."""
        with self._lock:
            marks = self._store.marks()
            fallen: dict[int, str] = {}
            for bucket, mark in enumerate(marks):
                reason = _fall(self._seen.get(bucket), mark)
                if reason is not None:
                    fallen[bucket] = reason
                elif mark is not None:
                    self._seen[bucket] = mark
            return Look(marks, fallen)

    def accept(self) -> list[Mark | None]:
        """Take the present marks for what they are: whatever was lost is being healed."""
        with self._lock:
            marks = self._store.marks()
            self._seen = {bucket: mark for bucket, mark in enumerate(marks) if mark is not None}
            self.accepted = True
            return marks


def _fall(seen: Mark | None, now: Mark | None) -> str | None:
    """How this is less than what was seen, if it is. A higher epoch is somebody's answer to a loss."""
    if seen is None or (now is not None and now.epoch > seen.epoch):
        return None
    if now is None:
        return "its mark is missing"
    if now.birth != seen.birth:
        return "it was born anew"
    if now.epoch < seen.epoch:
        return f"it is in epoch {now.epoch}, and {seen.epoch} was seen"
    if now.writes < seen.writes:
        return f"it counts {now.writes} writes, and {seen.writes} were seen"
    return None

"""Repairs under the deletion guard: what removes something is applied last, once all of it was judged together.

The detection judged what it read. Between its reading and the repair's the database may lose more, so a repair that
were not judged itself could remove anything. And it may see a part of what vanished, as pages are read one after the
other: where more is to be removed than was judged, all that differs by then is judged first.
"""

from collections.abc import Callable, Iterable, Iterator

from snapshot.deletion_guard import PendingDeletions
from snapshot.processes.spawn import Pool
from snapshot.rebuild import tasks
from snapshot.rebuild.detect import Detection
from snapshot.rebuild.tasks import PartResult, RebuildContext
from snapshot.reconcile.reconcile import Part


class GuardedRepair:
    """The repairs of one run, whose detection is asked of all that they remove so far; None: that is confirmed.

    `give_notice` is called before and after repairs: what they saw may be what no poll of the tail has seen.
    """

    def __init__(
        self, pool: Pool[RebuildContext], detection: Detection | None, give_notice: Callable[[], object]
    ) -> None:
        self.blocked: str | None = None
        """What the guard blocks. Then nothing that was held is applied, and no further part is repaired."""
        self._pool = pool
        self._detection = detection
        self._give_notice = give_notice
        self._deletions = PendingDeletions()

    def run(self, parts: Iterable[Part]) -> Iterator[PartResult]:
        """Repair these parts; to be read to the end. What is confirmed is announced, though nothing may differ."""
        parts = list(parts)
        if parts or self._detection is None:
            self._give_notice()
            yield from self._run(parts)
            self._give_notice()

    def _run(self, parts: list[Part]) -> Iterator[PartResult]:
        if self._detection is None:
            yield from self._pool.map(tasks.repair, parts)
            return
        held = []
        for result in self._pool.map(tasks.repair_but_hold, parts):
            if result.held:
                held.append(result.held)
                self._deletions.merge(result.deletions)
                self.blocked = self._detection.reason_to_block(self._deletions)
            if self.blocked is not None:
                return
            yield result
        self.blocked = self._detection.reason_to_block_now(self._deletions)
        for _ in self._pool.map(tasks.apply, [] if self.blocked else held):
            pass

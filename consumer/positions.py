"""Where each bucket stands: where to start reading, what a save may demand, and whether the store lost anything.

A bucket's positions lie in its mark and move with its data. A *loss* (a restart with a cut append-only file, a failover
to a lagging replica, FLUSHALL) shows itself: a mark is missing, a position or a count of writes is lower than it was, a
position is below what was committed. Then the bucket's epoch is raised, which stores what healing means; the partitions
are read again from where the bucket stands, and nothing of it is shown until it stands where it stood.
"""

from collections.abc import Callable, Iterable, Mapping

from consumer.source import Offsets
from projections.buckets import BUCKETS
from projections.projection import MEANING, Fence
from projections.store import Healing, Mark, Origin, Store

ALL = range(BUCKETS)


class Positions:
    """What one process knows of all buckets. `lost` is told of buckets whose epoch this process raised, and why."""

    def __init__(self, store: Store, lost: Callable[[Mapping[int, str]], None]) -> None:
        self._store = store
        self._lost = lost
        self._marks: list[Mark | None] = [None] * BUCKETS
        self._reached: list[dict[str, int]] = [{} for _ in ALL]
        self._read: dict[str, int] = {}

    def assign(self, offsets: Mapping[str, Offsets]) -> dict[str, int]:
        """Decide where to start the partitions that are this process' now; raises epochs where something was lost."""
        earliest = {name: known.earliest for name, known in offsets.items()}
        origin = Origin(earliest, _topic_ids(offsets), MEANING)
        marks = self._store.marks()
        losses = {bucket: reason for bucket in ALL if (reason := self._mend(bucket, marks[bucket], offsets))}
        if losses:
            self._lost(losses)
        self._store.bear(origin)
        self._marks = self._store.marks()
        starts = {name: self._start(name, known) for name, known in offsets.items()}
        self._reached = [dict(starts) for _ in ALL]
        self._read = dict(starts)
        return starts

    def _start(self, partition: str, known: Offsets) -> int:
        """The lowest of what was committed and of the buckets' positions."""
        stored = [mark.positions.get(partition, known.earliest) for mark in self._marks if mark is not None]
        committed = [] if known.committed is None else [known.committed]
        return max(known.earliest, min([*stored, *committed]))

    def _mend(self, bucket: int, mark: Mark | None, offsets: Mapping[str, Offsets]) -> str | None:
        """Raise the bucket's epoch if something of it is lost, with the positions where reading has to begin again.

        Gives the reason, where this process was the first to raise it.
        """
        reason, positions = self._loss(bucket, mark, offsets)
        if reason is None:
            return None
        ends = {name: known.end for name, known in offsets.items()}
        if mark is not None and mark.healing is not None:
            ends = {**mark.healing.ends, **ends}
        healing = Healing(ends, reconcile=True, reason=reason)
        seen = None if mark is None else mark.epoch
        raised = self._store.raise_epoch(bucket, seen, healing, Origin(positions, _topic_ids(offsets), MEANING))
        return reason if raised else None

    def _loss(
        self, bucket: int, mark: Mark | None, offsets: Mapping[str, Offsets]
    ) -> tuple[str | None, Mapping[str, int]]:
        if mark is None:
            committed = any(known.committed is not None for known in offsets.values())
            lost = committed or self._marks[bucket] is not None
            return ("its mark is missing" if lost else None), {name: known.earliest for name, known in offsets.items()}
        if mark.meaning != MEANING:
            return f"it was counted by rules {mark.meaning}, these are {MEANING}", {}
        again: dict[str, int] = {}
        reasons = [reason for name, known in offsets.items() if (reason := _partition_loss(mark, name, known, again))]
        before = self._marks[bucket]
        if before is not None and mark.epoch == before.epoch:
            if mark.birth != before.birth or mark.writes < before.writes:
                reasons.append(f"it counts {mark.writes} writes, and {before.writes} were seen")
            reached = self._reached[bucket]
            reasons += [
                f"it holds {name} up to {mark.positions.get(name)}, and had reached {position}"
                for name, position in reached.items()
                if name in offsets and mark.positions.get(name, -1) < position
            ]
        return (reasons[0] if reasons else None), again

    def check(self) -> bool:
        """Whether the store still holds what this process saw of it. False: `assign` again, it tells what is lost."""
        marks = self._store.marks()
        for before, now in zip(self._marks, marks, strict=True):
            if before is None:
                continue
            if now is None or now.epoch != before.epoch or now.birth != before.birth or now.writes < before.writes:
                return False
        self._marks = marks
        return True

    def fences(self, buckets: Iterable[int], ends: Mapping[str, int]) -> dict[int, Fence]:
        """What saves of these buckets demand, and the positions that they reach."""
        return {bucket: Fence(self._epoch(bucket), self._intervals(bucket, ends)) for bucket in buckets}

    def _epoch(self, bucket: int) -> int:
        mark = self._marks[bucket]
        return -1 if mark is None else mark.epoch

    def _intervals(self, bucket: int, ends: Mapping[str, int]) -> dict[str, tuple[int, int]]:
        return {name: (self._reached[bucket][name], end) for name, end in ends.items()}

    def advance(self, buckets: Iterable[int], ends: Mapping[str, int]) -> None:
        """These buckets were saved up to there."""
        for bucket in buckets:
            self._reached[bucket].update(ends)

    def read(self, ends: Mapping[str, int]) -> None:
        """All events below these positions are saved."""
        self._read.update(ends)

    @property
    def reached(self) -> Mapping[str, int]:
        """Up to where everything is saved."""
        return self._read

    def behind(self) -> list[int]:
        """The buckets whose stored positions are lower than what was read."""
        return [bucket for bucket in ALL if self._reached[bucket] != self._read]

    def healing(self) -> Iterable[tuple[int, Mark, Healing]]:
        """The buckets that heal, as last seen, with what is left to reach."""
        for bucket, mark in enumerate(self._marks):
            if mark is not None and mark.healing is not None:
                yield bucket, mark, mark.healing


def _topic_ids(offsets: Mapping[str, Offsets]) -> dict[str, str]:
    return {name.rpartition("/")[0]: known.topic_id for name, known in offsets.items()}


def _partition_loss(  # noqa: PLR0911 - one return for each way to lose something
    mark: Mark, name: str, known: Offsets, again: dict[str, int]
) -> str | None:
    """Why this partition has to be read again, if it has; `again` takes the position from which."""
    topic = name.rpartition("/")[0]
    stored = mark.positions.get(name)
    if mark.topic_ids.get(topic, known.topic_id) != known.topic_id:
        again[name] = known.earliest
        return f"the topic {topic} was made anew"
    if stored is None:
        if known.committed is None or _heals(mark, name):
            return None
        again[name] = known.earliest
        return f"it does not know {name}, of which {known.committed} was committed"
    if stored < known.earliest:
        again[name] = known.earliest
        return f"{name} holds nothing below {known.earliest} any more, and it had reached {stored}"
    if stored > known.end:
        again[name] = known.earliest
        return f"{name} ends at {known.end}, and it had reached {stored}"
    if known.committed is not None and stored < known.committed and not _heals(mark, name):
        return f"it holds {name} up to {stored}, and {known.committed} was committed"
    return None


def _heals(mark: Mark, partition: str) -> bool:
    """Whether the present epoch was raised for this: then it is read again already."""
    return mark.healing is not None and partition in mark.healing.ends

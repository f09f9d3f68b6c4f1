"""Where each bucket stands: where to start reading, what a save may demand, and whether the store lost anything.

A bucket's positions lie in its mark and move with its data. A *loss* (a restart with a cut append-only file, a failover
to a lagging replica, FLUSHALL) shows itself: a mark is missing, a position or a count of writes is lower than it was, a
position is below what was committed. Then the bucket's epoch is raised, which stores what healing means; the partitions
are read again from where the bucket stands, and nothing of it is shown until it stands where it stood.

Several processes meet the same loss. The first to raise the epoch tells the others by it; they adopt it, add the ends
of their own partitions to what healing means, and read those again.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from consumer.source import Offsets
from projections.comments.events import TOPICS
from projections.errors import OperatorError
from projections.profile_key import BUCKETS
from projections.projection import RULES_VERSION, Fence
from projections.store.protocol import BucketState, InitialPositions, RecoveryGoal, Store
from projections.store.rollback import RollbackDetector

ALL = range(BUCKETS)


class _Loss(NamedTuple):
    """Why a bucket's epoch has to be raised, and the positions of partitions that begin anew with it."""

    reason: str
    positions: Mapping[str, int]


class Positions:
    """What one process knows of all buckets. `lost` is told of buckets whose epoch this process raised, and why."""

    def __init__(
        self, store: Store, lost: Callable[[Mapping[int, str]], None], detector: RollbackDetector | None = None
    ) -> None:
        self._store = store
        self._lost = lost
        self._detector = detector or RollbackDetector(store)
        self._states: list[BucketState | None] = [None] * BUCKETS
        self._reached: list[dict[str, int]] = [{} for _ in ALL]
        self._read: dict[str, int] = {}

    # ---------------------------------------------------------------------------------------------------- assignment

    def assign(self, look_up: Callable[[], Mapping[str, Offsets]]) -> dict[str, int]:
        """Decide where to start the partitions that are this process' now; raises epochs where something was lost.

        `look_up` gives their offsets. Raises OperatorError where a newer program counts in this store.
        """
        # Others go on meanwhile: positions read before the ends can't be above them, those read after the committed
        # offsets can't be below them, unless something was lost.
        before = self._store.bucket_states()
        offsets = look_up()
        states, rolled_back = self._detector.look()
        while not self._raise_epochs(offsets, before, states, rolled_back):
            states, rolled_back = self._detector.look()
        self._store.initialize(
            InitialPositions(
                {name: known.earliest for name, known in offsets.items()}, _topic_ids(offsets), RULES_VERSION
            )
        )
        self._states = self._join(self._detector.accept(), offsets)
        starts = {name: self._start(name, known) for name, known in offsets.items()}
        self._reached = [dict(starts) for _ in ALL]
        self._read = dict(starts)
        return starts

    def _raise_epochs(
        self,
        offsets: Mapping[str, Offsets],
        before: list[BucketState | None],
        states: list[BucketState | None],
        rolled_back: Mapping[int, str],
    ) -> bool:
        """False: another process was first with some, and what is left for us has to be looked at again."""
        losses: dict[int, str] = {}
        complete = True
        try:
            for bucket in ALL:
                loss = self._loss(bucket, before[bucket], states[bucket], offsets, rolled_back.get(bucket))
                if loss is None:
                    continue
                if self._raise_epoch(bucket, states[bucket], loss, offsets):
                    losses[bucket] = loss.reason
                else:
                    complete = False
        finally:
            if losses:
                self._lost(losses)
        return complete

    def _raise_epoch(self, bucket: int, state: BucketState | None, loss: _Loss, offsets: Mapping[str, Offsets]) -> bool:
        """Raise the epoch that was seen; False: another process was first."""
        recovery = RecoveryGoal(_ends(state, offsets, anew=True), reconcile=True, reason=loss.reason)
        seen = None if state is None else state.epoch
        origin = InitialPositions(loss.positions, _topic_ids(offsets), RULES_VERSION)
        return self._store.raise_epoch(bucket, seen, recovery, origin)

    def _join(self, states: list[BucketState | None], offsets: Mapping[str, Offsets]) -> list[BucketState | None]:
        """Add the ends of our partitions to the healing that other processes began."""
        joined = list(states)
        for bucket, state in enumerate(states):
            if state is None or state.recovery is None or not offsets:
                continue
            recovery = msgspec.structs.replace(state.recovery, ends=_ends(state, offsets, anew=False))
            if recovery != state.recovery and self._store.recover(bucket, state.epoch, recovery):
                joined[bucket] = msgspec.structs.replace(state, recovery=recovery)
        return joined

    def _start(self, partition: str, known: Offsets) -> int:
        """The lowest of what was committed and of the buckets' positions."""
        stored = [state.positions.get(partition, known.earliest) for state in self._states if state is not None]
        committed = [] if known.committed is None else [known.committed]
        return max(known.earliest, min([*stored, *committed]))

    # -------------------------------------------------------------------------------------------------------- losses

    def _loss(
        self,
        bucket: int,
        before: BucketState | None,
        state: BucketState | None,
        offsets: Mapping[str, Offsets],
        rolled_back: str | None,
    ) -> _Loss | None:
        if state is None:
            lost = rolled_back or _any_committed(offsets)
            return (
                _Loss("its mark is missing", {name: known.earliest for name, known in offsets.items()})
                if lost
                else None
            )
        if state.rules_version != RULES_VERSION:
            _refuse_newer(state.rules_version)
            return _Loss(f"it was counted by rules {state.rules_version}, these are {RULES_VERSION}", {})
        again: dict[str, int] = {}
        reasons = []
        for name, known in offsets.items():
            reason = _lost_log(name, known, before, state)
            if reason is not None:
                again[name] = known.earliest
            reason = reason or _lost_position(name, known, state)
            reasons += [reason] if reason else []
        reasons += [rolled_back] if rolled_back else self._rolled_back_positions(bucket, state, offsets)
        return _Loss(reasons[0], again) if reasons else None

    def _rolled_back_positions(self, bucket: int, state: BucketState, partitions: Iterable[str]) -> list[str]:
        """The positions that are lower than this process had brought them in the same epoch."""
        known = self._states[bucket]
        if known is None or known.epoch != state.epoch:
            return []
        return [
            f"it holds {name} up to {state.positions.get(name)}, and had reached {position}"
            for name, position in self._reached[bucket].items()
            if name in partitions and state.positions.get(name, -1) < position
        ]

    def check(self) -> bool:
        """Whether the store still holds what this process saw of it. False: `assign` again, it tells what is lost."""
        states, rolled_back = self._detector.look()
        if rolled_back:
            return False
        for bucket, (before, now) in enumerate(zip(self._states, states, strict=True)):
            if before is None:
                continue
            if now is None or now.epoch != before.epoch or self._rolled_back_positions(bucket, now, self._read):
                return False
        self._states = states
        return True

    # --------------------------------------------------------------------------------------------------------- saves

    def fences(self, buckets: Iterable[int], ends: Mapping[str, int]) -> dict[int, Fence]:
        """What saves of these buckets demand, and the positions that they reach."""
        return {bucket: Fence(self._epoch(bucket), self._intervals(bucket, ends)) for bucket in buckets}

    def _epoch(self, bucket: int) -> int:
        state = self._states[bucket]
        return -1 if state is None else state.epoch

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

    def recovery(self) -> Iterable[tuple[int, BucketState, RecoveryGoal]]:
        """The buckets that heal, as last seen, with what is left to reach."""
        for bucket, state in enumerate(self._states):
            if state is not None and state.recovery is not None:
                yield bucket, state, state.recovery


def _topic(partition: str) -> str:
    return partition.rpartition("/")[0]


def _topic_ids(offsets: Mapping[str, Offsets]) -> dict[str, str]:
    """The topics' ids, one for each partition: its reader alone can tell that it begins anew."""
    return {name: known.topic_id for name, known in offsets.items()}


def _any_committed(offsets: Mapping[str, Offsets]) -> bool:
    return any(known.committed is not None for known in offsets.values())


def _ends(state: BucketState | None, offsets: Mapping[str, Offsets], *, anew: bool) -> dict[str, int]:
    """What healing has to reach: the ends of our partitions and of those that others still read.

    Ours are the present ones; where the healing goes on, those that it had.
    """
    known = {} if state is None or state.recovery is None else state.recovery.ends
    ours = {name: one.end if anew else known.get(name, one.end) for name, one in offsets.items()}
    return {name: end for name, end in known.items() if state and _still_read(name, state, offsets)} | ours


def _still_read(partition: str, state: BucketState, offsets: Mapping[str, Offsets]) -> bool:
    """Whether others may have this partition: not one of another kind of source, nor of a topic that was made anew."""
    ids = {_topic(name): known.topic_id for name, known in offsets.items()}
    topic = _topic(partition)
    if topic not in ids:
        return not ids or (topic in TOPICS and bool(TOPICS.keys() & ids.keys()))
    return state.topic_ids.get(partition, ids[topic]) == ids[topic]


def _lost_log(name: str, known: Offsets, before: BucketState | None, state: BucketState) -> str | None:
    """Why the partition no longer has what comes after the bucket's position, if so: it begins anew at the earliest."""
    topic, stored = _topic(name), state.positions.get(name)
    if state.topic_ids.get(name, known.topic_id) != known.topic_id:
        return f"the topic {topic} was made anew"
    if stored is None:
        return None
    if stored < known.earliest:
        return f"{name} holds nothing below {known.earliest} any more, and it had reached {stored}"
    if before is not None and min(stored, before.positions.get(name, -1)) > known.end:
        return f"{name} ends at {known.end}, and it had reached {stored}"
    return None


def _lost_position(name: str, known: Offsets, state: BucketState) -> str | None:
    """Why the bucket lacks what it had of the partition; not while it heals: then it is read again already."""
    if known.committed is None or state.recovery is not None:
        return None
    stored = state.positions.get(name)
    if stored is None:
        return f"it does not know {name}, of which {known.committed} was committed"
    if stored < known.committed:
        return f"it holds {name} up to {stored}, and {known.committed} was committed"
    return None


def _refuse_newer(meaning: str) -> None:
    """Two programs that count by different rules would undo each other's work for ever: the older one gives way."""
    if meaning.isdecimal() and int(meaning) > int(RULES_VERSION):
        raise OperatorError(
            f"the profiles in this store are counted by rules {meaning}, this program knows rules {RULES_VERSION}: "
            "install the newer version here too"
        )

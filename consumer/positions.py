"""Where each bucket stands: where to start reading, what a save may demand, and whether the store lost anything.

A bucket's positions lie in its state in the store and move in the same step as its data. For each partition, three
positions are kept apart:
- *stored*: up to where the bucket has its events, as the store last said;
- *saved*: up to where this process has saved them in this bucket since the assignment; *stored* is never lower;
- *read*: up to where this process has saved everything, in whatever bucket. A bucket that had no events in the last
  batches is saved up to less, until a commit brings it there.

A *loss* (a restart with a cut append-only file, a failover to a lagging replica, FLUSHALL, a topic that was recreated)
shows itself as `consumer.losses` says. Then the bucket's epoch is raised, which stores what its recovery has to reach;
the partitions are read again from where the bucket stands, and nothing of it is published until it has reached that.

Several processes meet the same loss. The first to raise the epoch tells the others by it; they adopt it, add the ends
of their own partitions to what the recovery has to reach, and read those again.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

import msgspec

from consumer.losses import Evidence, Loss, below_saved, ends_to_join, ends_to_reach, find_loss
from consumer.source import Offsets
from projections.profile_key import BUCKETS
from projections.projection import RULES_VERSION, Fence
from projections.store.protocol import BucketState, InitialPositions, RecoveryGoal, Store
from projections.store.rollback import RollbackDetector

ALL = range(BUCKETS)


class Positions:
    """What one process knows of all buckets.

    `on_loss` is called with the buckets whose epoch this process raised, and why.
    """

    def __init__(
        self, store: Store, on_loss: Callable[[Mapping[int, str]], None], detector: RollbackDetector | None = None
    ) -> None:
        self.read: Mapping[str, int] = {}
        self._store = store
        self._on_loss = on_loss
        self._detector = detector or RollbackDetector(store)
        self._stored: list[BucketState | None] = [None] * BUCKETS
        self._saved: list[dict[str, int]] = [{} for _ in ALL]

    # ---------------------------------------------------------------------------------------------------- assignment

    def assign(self, look_up: Callable[[], Mapping[str, Offsets]]) -> Mapping[str, int]:
        """Decide where to start the partitions that are this process' now; raises epochs where something was lost.

        `look_up` gives their offsets. Raises OperatorError where a newer program counts in this store.
        """
        before = self._store.bucket_states()
        offsets = look_up()
        while not self._raise_epochs(before, offsets):
            pass
        self._store.initialize(_initial(offsets, {name: known.earliest for name, known in offsets.items()}))
        joined = self._join_recoveries(self._detector.accept(), offsets)
        if joined is None:
            return self.assign(look_up)
        self._stored = joined
        self.read = {name: self._start(name, known) for name, known in offsets.items()}
        self._saved = [dict(self.read) for _ in ALL]
        return self.read

    def _start(self, partition: str, known: Offsets) -> int:
        """The lowest of what was committed and of the buckets' positions."""
        stored = [state.positions.get(partition, known.earliest) for state in self._stored if state is not None]
        committed = [] if known.committed is None else [known.committed]
        # A store that was lost this very moment has none: whatever is read cannot be saved, and then it is seen.
        return max(known.earliest, min([*stored, *committed], default=known.earliest))

    def _raise_epochs(self, before: list[BucketState | None], offsets: Mapping[str, Offsets]) -> bool:
        """False: another process was first with some; what is left for us has to be determined again."""
        states, rolled_back = self._detector.read()
        raised: dict[int, str] = {}
        complete = True
        try:
            for bucket, state in enumerate(states):
                saved = self._saved_in_epoch_of(bucket, state)
                loss = find_loss(Evidence(before[bucket], state, offsets, saved, rolled_back.get(bucket)))
                if loss is None:
                    continue
                if self._raise_epoch(bucket, state, loss, offsets):
                    raised[bucket] = loss.reason
                else:
                    complete = False
        finally:
            if raised:
                self._on_loss(raised)
        return complete

    def _raise_epoch(self, bucket: int, state: BucketState | None, loss: Loss, offsets: Mapping[str, Offsets]) -> bool:
        """Raise the epoch that was seen; False: another process was first."""
        goal = RecoveryGoal(ends_to_reach(state, offsets), reconcile=True, reason=loss.reason)
        seen = None if state is None else state.epoch
        return self._store.raise_epoch(bucket, seen, goal, _initial(offsets, loss.positions))

    def _join_recoveries(
        self, states: list[BucketState | None], offsets: Mapping[str, Offsets]
    ) -> list[BucketState | None] | None:
        """Add the ends of our partitions to the recoveries that other processes began; None: one moved meanwhile."""
        joined = list(states)
        for bucket, state in enumerate(states):
            if state is None or state.recovery is None or not offsets:
                continue
            ends = ends_to_join(state, offsets)
            # What is read again from here on may bring back what a reconcile removed a moment ago.
            added = {name: end for name, end in ends.items() if name not in state.recovery.ends}
            reconcile = state.recovery.reconcile or not state.reached(added)
            goal = msgspec.structs.replace(state.recovery, ends=ends, reconcile=reconcile)
            if goal == state.recovery:
                continue
            if not self._store.recover(bucket, state, goal):
                return None
            joined[bucket] = msgspec.structs.replace(state, recovery=goal)
        return joined

    # --------------------------------------------------------------------------------------------------------- losses

    def check(self) -> bool:
        """Whether the store still holds what this process saw of it. False: `assign` again, it tells what is lost."""
        states, rolled_back = self._detector.read()
        if rolled_back:
            return False
        for bucket, (before, now) in enumerate(zip(self._stored, states, strict=True)):
            if before is None:
                continue
            if now is None or now.epoch != before.epoch or below_saved(now, self._saved[bucket]):
                return False
            if now.recovery is not None and not self.read.keys() <= now.recovery.ends.keys():
                return False  # the store fell back to before we joined
        self._stored = states
        return True

    def _saved_in_epoch_of(self, bucket: int, state: BucketState | None) -> Mapping[str, int]:
        """What a later epoch holds is another matter: its positions may have been set back on purpose."""
        known = self._stored[bucket]
        same = known is not None and state is not None and known.epoch == state.epoch
        return self._saved[bucket] if same else {}

    @property
    def writes(self) -> int:
        """How many writes all buckets count, as last seen."""
        return sum(state.writes for state in self._stored if state is not None)

    @property
    def empty(self) -> list[int]:
        """The buckets that nothing was ever written to, as last seen."""
        return [bucket for bucket, state in enumerate(self._stored) if state is not None and not state.writes]

    def recovering(self) -> Iterable[tuple[int, BucketState, RecoveryGoal]]:
        """The buckets that recover, as last seen, with what is left to reach."""
        for bucket, state in enumerate(self._stored):
            if state is not None and state.recovery is not None:
                yield bucket, state, state.recovery

    # ---------------------------------------------------------------------------------------------------------- saves

    def fences(self, buckets: Iterable[int], ends: Mapping[str, int]) -> dict[int, Fence]:
        """What saves of these buckets demand, and the positions that they reach."""
        return {bucket: self._fence(bucket, ends) for bucket in buckets}

    def _fence(self, bucket: int, ends: Mapping[str, int]) -> Fence:
        state, saved = self._stored[bucket], self._saved[bucket]
        return Fence(-1 if state is None else state.epoch, {name: (saved[name], end) for name, end in ends.items()})

    def note_saved(self, buckets: Iterable[int], ends: Mapping[str, int]) -> None:
        """These buckets were saved up to there."""
        for bucket in buckets:
            self._saved[bucket].update(ends)

    def note_read(self, ends: Mapping[str, int]) -> None:
        """All events below these positions are saved."""
        self.read = {**self.read, **ends}

    def behind(self) -> list[int]:
        """The buckets that are saved up to less than what was read."""
        return [bucket for bucket in ALL if self._saved[bucket] != self.read]


def _initial(offsets: Mapping[str, Offsets], positions: Mapping[str, int]) -> InitialPositions:
    """The topics' ids are given one for each partition: only its reader can tell that it was recreated."""
    return InitialPositions(positions, {name: known.topic_id for name, known in offsets.items()}, RULES_VERSION)


def list_buckets(buckets: Collection[int]) -> str:
    """Buckets as the log names them.

    >>> list_buckets({17, 3}), list_buckets(range(64))
    ('2 of 64 buckets: 3, 17', 'all 64 buckets')
    """
    if len(buckets) == BUCKETS:
        return f"all {BUCKETS} buckets"
    return f"{len(buckets)} of {BUCKETS} buckets: {', '.join(map(str, sorted(buckets)))}"

"""Where each bucket stands, and every way in which a store shows that it lost something."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from consumer.positions import Positions
from consumer.source import Offsets, SourceUnavailableError
from projections.errors import OperatorError
from projections.profile_key import BUCKETS, bucket_of
from projections.projection import RULES_VERSION, Projection
from projections.store.protocol import BucketState, EpochError, InitialPositions, PositionGapError, RecoveryGoal, Store
from projections.store.rollback import RollbackDetector
from support.epochs import epochs, recovered
from support.histories import KEYS, comment
from support.rollback import keep
from support.stores import Passing

P0, P1, I0 = "comment-created/0", "comment-created/1", "insight-created/0"
KEY = KEYS[0]
BUCKET = bucket_of(KEY.user_id)


class Process:
    """One process' positions; `offsets` are what its source would answer."""

    def __init__(self, store: Store, *partitions: str) -> None:
        self.store = store
        self.projection = Projection(store)
        self.lost: dict[int, str] = {}
        self.offsets = {name: Offsets(None, 0, 100, "first") for name in partitions}
        self.positions = Positions(store, self.lost.update)

    def set(self, name: str, **values: Any) -> None:  # noqa: ANN401  any field
        self.offsets[name] = self.offsets[name]._replace(**values)

    def assign(self) -> Mapping[str, int]:
        self.lost.clear()
        return self.positions.assign(lambda: self.offsets)

    def read(self, number: int, **ends: int) -> None:
        """Apply one comment, and reach these ends (comment_0=5 for comment-created/0)."""
        found = {f"{name[:-2]}-created/{name[-1]}": end for name, end in ends.items()}
        self.projection.apply([comment(KEY, number, 1)], self.positions.fences([BUCKET], found))
        self.positions.note_saved([BUCKET], found)
        self.positions.note_read(found)

    def commit(self) -> None:
        ends = dict(self.positions.read)
        behind = self.positions.behind()
        self.projection.apply((), self.positions.fences(behind, ends))
        self.positions.note_saved(behind, ends)
        for name, end in ends.items():
            self.set(name, committed=end)


def states(store: Store) -> list[BucketState]:
    found = store.bucket_states()
    assert all(state is not None for state in found)
    return [state for state in found if state is not None]


def recovery(store: Store, bucket: int = BUCKET) -> RecoveryGoal:
    found = states(store)[bucket].recovery
    assert found is not None
    return found


def ends(store: Store, bucket: int = BUCKET) -> Mapping[str, int]:
    return recovery(store, bucket).ends


# ----------------------------------------------------------------------------------------------------- no loss at all


def test_a_new_store_begins_at_the_earliest_offset(store: Store) -> None:
    one = Process(store, P0, I0)
    one.set(P0, earliest=7)
    assert one.assign() == {P0: 7, I0: 0}
    assert one.lost == {}
    assert all(state.positions == {P0: 7, I0: 0} for state in states(store))
    assert all(state.recovery is None for state in states(store))
    assert one.positions.check()


def test_a_store_that_is_lost_just_when_it_was_initialized_is_initialized_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose, initialize = keep(store), store.initialize

    def initialize_in_vain(origin: InitialPositions) -> None:
        initialize(origin)
        lose()

    monkeypatch.setattr(store, "initialize", initialize_in_vain)
    one = Process(store, P0)
    assert one.assign() == {P0: 0}
    with pytest.raises(EpochError):
        one.read(1, comment_0=5)
    monkeypatch.undo()
    assert one.assign() == {P0: 0}
    one.read(1, comment_0=5)
    assert states(store)[BUCKET].positions == {P0: 5}


def test_a_restart_begins_at_the_lowest_of_the_buckets_and_the_commit(store: Store) -> None:
    one = Process(store, P0, I0)
    one.assign()
    one.read(1, comment_0=5, insight_0=3)
    again = Process(store, P0, I0)
    assert again.assign() == {P0: 0, I0: 0}, "the other buckets stand there"
    one.commit()
    again.set(P0, committed=4)
    assert again.assign() == {P0: 4, I0: 3}
    assert again.lost == {}


def test_what_was_committed_without_partitions_of_the_store_is_never_skipped(store: Store) -> None:
    """Partitions were added: initialized buckets start them at the earliest offset."""
    one = Process(store, P0)
    one.assign()
    one.read(1, comment_0=5)
    one.commit()
    one.offsets[P1] = Offsets(None, 2, 9, "first")
    assert one.assign() == {P0: 5, P1: 2}
    assert one.lost == {}


def test_a_position_above_the_commit_is_no_loss(store: Store) -> None:
    one = Process(store, P0)
    one.assign()
    one.read(1, comment_0=50)
    one.commit()
    one.set(P0, committed=10)
    assert one.assign() == {P0: 10}
    assert one.lost == {}


def test_others_that_go_on_while_offsets_are_looked_up_are_no_loss(store: Store) -> None:
    """Whoever had the partition before may still save and commit."""
    before, one = Process(store, P0), Process(store, P0)
    before.assign()
    before.read(1, comment_0=5)
    before.commit()

    def looked_up() -> Mapping[str, Offsets]:
        found = {P0: Offsets(5, 0, 6, "first")}
        before.read(2, comment_0=9)
        return found

    assert one.positions.assign(looked_up) == {P0: 5}
    assert one.lost == {}

    def looked_up_late() -> Mapping[str, Offsets]:
        before.read(3, comment_0=20)
        before.commit()
        return {P0: Offsets(20, 0, 20, "first")}

    assert one.positions.assign(looked_up_late) == {P0: 20}
    assert one.lost == {}


def test_a_source_that_is_away_changes_nothing(store: Store) -> None:
    one = Process(store, P0)
    one.assign()

    def away() -> Mapping[str, Offsets]:
        raise SourceUnavailableError("away")

    with pytest.raises(SourceUnavailableError):
        one.positions.assign(away)
    assert one.positions.check()
    one.read(1, comment_0=5)


# ---------------------------------------------------------------------------------------------------------- losses


def test_a_position_below_the_commit(store: Store) -> None:
    one = Process(store, P0)
    one.assign()
    one.read(1, comment_0=5)
    one.commit()
    fall_back = keep(store)
    one.read(2, comment_0=9)
    one.commit()
    fall_back()
    again = Process(store, P0)
    again.set(P0, committed=9, end=30)
    assert again.assign() == {P0: 5}
    assert len(again.lost) == BUCKETS
    assert (recovery(store).ends, recovery(store).reconcile) == ({P0: 30}, True)
    assert "9 was committed" in again.lost[BUCKET]


def test_a_missing_state_although_something_was_committed(store: Store) -> None:
    one = Process(store, P0, I0)
    one.set(P0, committed=40)
    assert one.assign() == {P0: 0, I0: 0}
    assert set(one.lost.values()) == {"its state is missing"}
    assert ends(store) == {P0: 100, I0: 100}


def test_a_store_that_was_emptied_under_a_running_process(store: Store) -> None:
    empty = keep(store)
    one = Process(store, P0)
    one.assign()
    one.read(1, comment_0=5)
    empty()
    assert not one.positions.check()
    assert one.assign() == {P0: 0}
    assert len(one.lost) == BUCKETS
    assert ends(store) == {P0: 100}
    assert one.positions.check()


def test_a_count_of_writes_that_is_lower(store: Store) -> None:
    """Nothing was saved under positions: only the count tells."""
    one = Process(store, P0)
    one.assign()
    fall_back = keep(store)
    one.projection.apply([comment(KEY, 1, 1)])
    assert one.positions.check()
    fall_back()
    assert not one.positions.check()
    one.assign()
    assert list(one.lost) == [BUCKET]
    assert "writes" in one.lost[BUCKET]


def test_a_position_that_is_lower_than_reached_while_others_wrote_on(store: Store) -> None:
    """The count of writes is as high as ever."""
    one = Process(store, P0)
    one.assign()
    fall_back = keep(store)
    one.read(1, comment_0=5)
    one.positions.check()
    fall_back()
    for number in range(10, 16):
        Projection(store).apply([comment(KEY, number, 1)])
    assert not one.positions.check()
    assert one.assign() == {P0: 0}
    assert list(one.lost) == [BUCKET]


def test_a_position_gap_is_met_by_the_save_itself(store: Store) -> None:
    one = Process(store, P0)
    one.assign()
    fall_back = keep(store)
    one.read(1, comment_0=5)
    fall_back()
    with pytest.raises(PositionGapError):
        one.read(2, comment_0=7)
    one.assign()
    assert list(one.lost) == [BUCKET]


def test_an_epoch_that_fell_back(store: Store) -> None:
    one = Process(store, P0)
    one.assign()
    fall_back = keep(store)
    store.raise_epoch(
        BUCKET, 0, RecoveryGoal({}, reconcile=False, reason="a test"), InitialPositions({}, {}, RULES_VERSION)
    )
    recovered(store, BUCKET)
    one.assign()
    one.projection.apply([comment(KEY, 1, 1)])
    assert one.positions.check()
    fall_back()
    for number in range(10, 20):
        Projection(store).apply([comment(KEY, number, 1)])
    assert not one.positions.check()
    one.assign()
    assert list(one.lost) == [BUCKET]
    assert "epoch" in one.lost[BUCKET]


def test_an_offset_out_of_retention(store: Store) -> None:
    one = Process(store, P0)
    one.assign()
    one.read(1, comment_0=5)
    one.commit()
    one.set(P0, earliest=40, end=90)
    assert one.assign() == {P0: 40}
    assert len(one.lost) == BUCKETS
    assert all(state.positions == {P0: 40} for state in states(store))
    assert ends(store) == {P0: 90}
    one.read(2, comment_0=50)


def test_a_log_that_lost_its_end(store: Store) -> None:
    one = Process(store, P0)
    one.assign()
    one.read(1, comment_0=50)
    one.commit()
    one.set(P0, end=20, earliest=3, committed=20)
    assert one.assign() == {P0: 3}
    assert len(one.lost) == BUCKETS
    one.read(2, comment_0=5)


def test_a_recreated_topic_is_read_from_its_beginning_by_every_reader(store: Store) -> None:
    """Even where the new one is longer than the old one was, and another process raised the epoch first."""
    one, other = Process(store, P0), Process(store, P1)
    for process, ended in ((one, {"comment_0": 50}), (other, {"comment_1": 60})):
        process.assign()
        process.read(1, **ended)
        process.commit()
    for process, name in ((one, P0), (other, P1)):
        process.set(name, topic_id="second", committed=None)
        assert process.assign() == {name: 0}
        assert len(process.lost) == BUCKETS
    one.assign()
    assert one.lost == {}
    one.read(2, comment_0=10)


def test_other_rules_of_meaning_reconcile_first(store: Store) -> None:
    store.initialize(InitialPositions({P0: 5}, {P0: "first"}, "0"))
    one = Process(store, P0)
    one.set(P0, committed=5)
    assert one.assign() == {P0: 5}
    assert len(one.lost) == BUCKETS
    assert recovery(store).reconcile
    assert {state.rules_version for state in states(store)} == {RULES_VERSION}
    one.assign()
    assert one.lost == {}


def test_newer_rules_of_meaning_stop_an_older_program(store: Store) -> None:
    """Else the two would undo each other's epochs for ever."""
    store.initialize(InitialPositions({P0: 5}, {P0: "first"}, "999"))
    with pytest.raises(OperatorError, match="install the newer version"):
        Process(store, P0).assign()
    assert {state.rules_version for state in states(store)} == {"999"}


# --------------------------------------------------------------------------------------------- several processes


def test_one_loss_is_answered_once_and_the_others_join(store: Store) -> None:
    one, other = Process(store, P0, I0), Process(store, P1)
    for process, ended in ((one, {"comment_0": 5, "insight_0": 5}), (other, {"comment_1": 6})):
        process.assign()
        process.read(1, **ended)
        process.commit()
    fall_back = keep(store)
    one.read(2, comment_0=9)
    other.read(3, comment_1=9)
    one.commit()
    other.commit()
    fall_back()
    assert not one.positions.check()
    assert not other.positions.check()
    one.assign()
    assert len(one.lost) == BUCKETS
    raised = epochs(store)
    assert other.assign() == {P1: 6}
    assert other.lost == {}, "adopted"
    assert ends(store) == {P0: 100, I0: 100, P1: 100}
    for _ in range(3):
        assert one.positions.check()
        assert other.positions.check()
    assert epochs(store) == raised


def test_two_that_raise_at_the_same_moment_end_in_one_epoch(store: Store) -> None:
    empty = keep(store)
    one, other = Process(store, P0), Process(store, P1)
    one.assign()
    other.assign()
    empty()
    one.set(P0, committed=3)
    other.set(P1, committed=4)

    def looked_up() -> Mapping[str, Offsets]:
        other.assign()
        return one.offsets

    one.positions.assign(looked_up)
    assert len(one.lost) + len(other.lost) == BUCKETS
    assert epochs(store)
    assert ends(store) == {P0: 100, P1: 100}
    assert {state.positions[P0] for state in states(store)} == {0}
    assert {state.positions[P1] for state in states(store)} == {0}
    other.read(1, comment_1=2)
    one.read(2, comment_0=2)


def test_a_raise_that_another_did_first_is_followed_by_what_is_left_for_us(store: Store) -> None:
    """The other's raise says nothing of our partition, whose topic was recreated."""
    one, other = Process(store, P0), Process(store, P1)
    for process, ended in ((one, {"comment_0": 5}), (other, {"comment_1": 6})):
        process.assign()
        process.read(1, **ended)
        process.commit()
    for process, name in ((one, P0), (other, P1)):
        process.set(name, topic_id="second", committed=None)
    detector = RollbackDetector(store)

    class Beaten:
        def __getattr__(self, name: str) -> Any:  # noqa: ANN401  the rest of the store as it is
            return getattr(store, name)

        def raise_epoch(self, *arguments: Any) -> bool:  # noqa: ANN401  as it is called
            if not other.lost:
                other.assign()
            return store.raise_epoch(*arguments)

    beaten: Any = Beaten()
    positions = Positions(beaten, one.lost.update, detector)
    assert positions.assign(lambda: one.offsets) == {P0: 0}
    assert (len(one.lost), len(other.lost)) == (BUCKETS, BUCKETS)
    assert ends(store) == {P0: 100, P1: 100}


def test_who_missed_the_new_epoch_is_refused_and_joins(store: Store) -> None:
    one, other = Process(store, P0), Process(store, P1)
    one.assign()
    other.assign()
    store.raise_epoch(
        BUCKET, 0, RecoveryGoal({P0: 7}, reconcile=True, reason="a test"), InitialPositions({}, {}, RULES_VERSION)
    )
    with pytest.raises(EpochError):
        other.read(1, comment_1=3)
    assert not other.positions.check()
    other.assign()
    assert other.lost == {}
    assert ends(store) == {P0: 7, P1: 100}
    other.read(1, comment_1=3)


def test_joining_leaves_what_was_there_to_reach(store: Store) -> None:
    one = Process(store, P0)
    one.assign()
    store.raise_epoch(
        BUCKET, 0, RecoveryGoal({P0: 7}, reconcile=False, reason="a test"), InitialPositions({}, {}, RULES_VERSION)
    )
    one.assign()
    assert recovery(store) == RecoveryGoal({P0: 7}, reconcile=False, reason="a test")


def test_who_joins_with_something_to_read_asks_for_another_reconcile(store: Store) -> None:
    """Else what is read again brings back comments whose rows are gone, after the reconcile removed them."""
    one, other = Process(store, P0), Process(store, P1)
    one.assign()
    store.raise_epoch(
        BUCKET, 0, RecoveryGoal({P0: 0}, reconcile=False, reason="a test"), InitialPositions({}, {}, RULES_VERSION)
    )
    other.set(P1, end=5)
    other.assign()
    assert recovery(store) == RecoveryGoal({P0: 0, P1: 5}, reconcile=True, reason="a test")


class Between(Passing):
    """Something else happens just before the first call that stores what is left of a recovery."""

    def __init__(self, store: Store, happens: Callable[[], object]) -> None:
        super().__init__(store)
        self._happens: Callable[[], object] | None = happens

    def recover(self, bucket: int, seen: BucketState, left: RecoveryGoal | None) -> bool:
        happens, self._happens = self._happens, None
        if happens is not None:
            happens()
        return self._store.recover(bucket, seen, left)


def test_two_that_join_in_the_same_moment_both_join(store: Store) -> None:
    one, third = Process(store, P0), Process(store, I0)
    goal = RecoveryGoal({}, reconcile=True, reason="a test")
    store.raise_epoch(BUCKET, None, goal, InitialPositions({}, {}, RULES_VERSION))
    one.assign()
    Process(Between(store, third.assign).as_store(), P1).assign()
    assert ends(store).keys() == {P0, P1, I0}


def test_a_recovery_that_another_has_just_joined_is_not_ended(store: Store) -> None:
    one, other = Process(store, P0), Process(store, P1)
    goal = RecoveryGoal({P0: 0}, reconcile=False, reason="a test")
    store.raise_epoch(BUCKET, None, goal, InitialPositions({}, {}, RULES_VERSION))
    seen = store.bucket_states()[BUCKET]
    assert seen is not None
    other.assign()
    assert not store.recover(BUCKET, seen, None)
    one.assign()
    assert ends(store).keys() == {P0, P1}


def test_an_end_that_nobody_gives_out_any_more_is_not_waited_for(store: Store) -> None:
    """The tail that gave it out went on from a document that fell back with the store; nothing new comes meanwhile."""
    one = Process(store, P0, P1)
    one.set(P0, end=5)
    one.assign()
    lost = RecoveryGoal({P0: 7, P1: 7}, reconcile=False, reason="a test")
    store.raise_epoch(BUCKET, 0, lost, InitialPositions({}, {}, RULES_VERSION))
    one.assign()
    assert ends(store) == {P0: 5, P1: 7}


def test_a_second_loss_during_a_recovery_adds_up(store: Store) -> None:
    one, other = Process(store, P0), Process(store, P1)
    one.assign()
    other.assign()
    fall_back = keep(store)
    one.read(1, comment_0=5)
    fall_back()
    one.assign()
    other.assign()
    one.read(1, comment_0=5)
    empty_again = keep(store)
    one.read(2, comment_0=9)
    empty_again()
    one.set(P0, end=200)
    one.assign()
    assert list(one.lost) == [BUCKET]
    assert recovery(store).ends == {P0: 200, P1: 100}
    assert recovery(store).reconcile


def test_what_nobody_reads_any_more_is_not_waited_for(store: Store) -> None:
    """The source was another one, or the topic has fewer partitions since it was recreated."""
    store.initialize(
        InitialPositions({"tail/0": 3, P0: 4, P1: 4}, {"tail/0": "tail", P0: "first", P1: "first"}, RULES_VERSION)
    )
    old = RecoveryGoal({"tail/0": 90, P0: 90, P1: 90, I0: 90}, reconcile=True, reason="a test")
    store.raise_epoch(BUCKET, 0, old, InitialPositions({}, {}, RULES_VERSION))
    one = Process(store, P0)
    one.set(P0, topic_id="second", end=10)
    one.assign()
    assert ends(store) == {P0: 10, I0: 90}, "insights may have another reader"


def test_a_process_without_partitions_notices_too(store: Store) -> None:
    empty = keep(store)
    one, idle = Process(store, P0), Process(store)
    one.assign()
    one.read(1, comment_0=5)
    idle.assign()
    empty()
    assert not idle.positions.check()
    assert idle.assign() == {}
    assert len(idle.lost) == BUCKETS
    assert one.assign() == {P0: 0}
    assert one.lost == {}
    assert ends(store) == {P0: 100}


def test_losses_are_reported_even_if_the_store_goes_away_in_the_middle(store: Store) -> None:
    one = Process(store, P0)
    one.set(P0, committed=4)
    raised = []

    class Leaving:
        def __getattr__(self, name: str) -> Any:  # noqa: ANN401  the rest of the store as it is
            return getattr(store, name)

        def raise_epoch(self, bucket: int, *arguments: Any) -> bool:  # noqa: ANN401  as it is called
            if bucket == 3:
                raise ConnectionError
            raised.append(bucket)
            return store.raise_epoch(bucket, *arguments)

    leaving: Any = Leaving()
    with pytest.raises(ConnectionError):
        Positions(leaving, one.lost.update).assign(lambda: one.offsets)
    assert list(one.lost) == raised == [0, 1, 2]
    one.assign()
    assert len(one.lost) == BUCKETS - 3


def test_recoveries_as_last_seen(store: Store) -> None:
    one = Process(store, P0)
    one.set(P0, committed=4)
    one.assign()
    found = list(one.positions.recovering())
    assert [bucket for bucket, _, _ in found] == list(range(BUCKETS))
    assert found[BUCKET][1] == msgspec.structs.replace(states(store)[BUCKET])

"""The buckets' states, on every implementation of `projections.store.protocol.Store`: positions, epochs, recovery."""

import pytest
from msgspec.structs import replace

from projections.profile_key import BUCKETS, bucket_of
from projections.store.protocol import ABSENT, EpochError, InitialPositions, PositionGapError, RecoveryGoal, Save, Store
from support.epochs import epoch, recovered
from support.rollback import keep
from support.stores import (
    ANN,
    BEN,
    BUCKET,
    CEM,
    FOLDER,
    ORIGIN,
    RECOVERY,
    claim,
    fenced,
    keys,
    save,
    state,
    write,
)


def test_a_position_moves_with_the_data(store: Store) -> None:
    store.initialize(ORIGIN)
    assert store.save([Save(BUCKET, [write(ANN, ABSENT, b"one")], 0, {"comment-created/0": (10, 12)})]) == [[]]
    assert state(store).positions == {"comment-created/0": 12}


def test_a_position_moves_without_data_and_never_back(store: Store) -> None:
    store.initialize(ORIGIN)
    store.save([fenced(20)])
    store.save([fenced(15)])
    store.save([fenced(20, start=20)])
    assert state(store).positions == {"comment-created/0": 20}


def test_a_big_position_keeps_every_digit(store: Store) -> None:
    big = 2**53 - 1
    store.initialize(ORIGIN._replace(positions={"comment-created/0": big - 1}))
    store.save([fenced(big, start=big - 1)])
    assert state(store).positions == {"comment-created/0": big}


@pytest.mark.parametrize(("partition", "stored"), [("comment-created/0", 10), ("comment-created/1", None)])
def test_a_position_gap_writes_nothing(store: Store, partition: str, stored: int | None) -> None:
    store.initialize(ORIGIN)
    before = state(store)
    gap = Save(BUCKET, [write(ANN, ABSENT, b"one")], 0, {"comment-created/0": (10, 20), partition: (11, 20)})
    with pytest.raises(PositionGapError) as caught:
        store.save([gap])
    error = caught.value
    assert (error.bucket, error.partition, error.stored, error.demanded) == (BUCKET, partition, stored, 11)
    assert state(store) == before
    assert store.load({ANN: [b"h"]})[ANN] == (ABSENT, {})


def test_a_bucket_without_a_state_is_another_epoch_or_a_gap(store: Store) -> None:
    with pytest.raises(EpochError) as other:
        store.save([fenced(20)])
    assert (other.value.bucket, other.value.known, other.value.present) == (BUCKET, 0, None)
    with pytest.raises(PositionGapError):
        store.save([fenced(20, epoch=None)])
    assert store.bucket_states() == [None] * BUCKETS


def test_another_epoch_writes_nothing(store: Store) -> None:
    store.initialize(ORIGIN)
    store.raise_epoch(BUCKET, 0, RECOVERY, ORIGIN)
    with pytest.raises(EpochError) as caught:
        store.save([Save(BUCKET, [write(ANN, ABSENT, b"one")], 0, {"comment-created/0": (10, 12)})])
    assert (caught.value.known, caught.value.present) == (0, epoch(store, BUCKET))
    assert store.load({ANN: [b"h"]})[ANN] == (ABSENT, {})
    assert state(store).positions == {"comment-created/0": 10}


def test_no_position_moves_while_a_profile_conflicts_and_the_retry_moves_it(store: Store) -> None:
    store.initialize(ORIGIN)
    save(store, write(ANN, ABSENT, b"theirs"))
    writes = [write(BEN, ABSENT, b"two"), write(ANN, ABSENT, b"mine")]
    assert store.save([Save(BUCKET, writes, 0, {"comment-created/0": (10, 12)})]) == [[ANN]]
    assert state(store).positions == {"comment-created/0": 10}
    assert store.load({BEN: ()})[BEN].version == b"two"
    retry = Save(BUCKET, [write(ANN, b"theirs", b"mine")], 0, {"comment-created/0": (10, 12)})
    assert store.save([retry]) == [[]]
    assert state(store).positions == {"comment-created/0": 12}


def test_thousands_of_partitions_fit_into_one_save(store: Store) -> None:
    store.initialize(InitialPositions({f"comment-created/{number}": 0 for number in range(9_000)}, {}, "1"))
    store.save([Save(BUCKET, [], 0, {f"comment-created/{number}": (0, number) for number in range(9_000)})])
    assert state(store).positions == {f"comment-created/{number}": number for number in range(9_000)}


def test_writes_are_counted_and_calls_that_write_nothing_are_not(store: Store) -> None:
    store.initialize(ORIGIN)
    counts = [state(store).writes]

    def grown() -> bool:
        counts.append(state(store).writes)
        return counts[-1] > counts[-2]

    save(store, write(ANN, ABSENT, b"one"))
    assert grown()
    save(store, write(ANN, ABSENT, b"conflict"))
    assert not grown()
    save(store, write(ANN, b"one", b"two", dirty=False))
    assert grown()
    store.save([fenced(11)])
    assert grown()
    store.save([fenced(11)])
    assert not grown()
    store.raise_epoch(BUCKET, 0, RECOVERY, ORIGIN)
    assert grown()
    store.remove(ANN, b"two")
    assert grown()


def test_all_buckets_are_initialized_with_positions(store: Store) -> None:
    assert store.bucket_states() == [None] * BUCKETS
    store.initialize(ORIGIN)
    for found in store.bucket_states():
        assert found is not None
        assert found.instance_id
        assert (found.epoch, found.rules_version, found.recovery) == (0, "1", None)
        assert (found.positions, found.topic_ids) == (ORIGIN.positions, ORIGIN.topic_ids)


def test_an_initialized_bucket_gains_only_what_it_lacks(store: Store) -> None:
    store.initialize(ORIGIN)
    store.save([fenced(12)])
    instance_id = state(store).instance_id
    new = {"comment-created/0": 0, "comment-created/1": 7}
    store.initialize(InitialPositions(new, {"comment-created": "other", "insight-created": "i"}, "2"))
    assert state(store).positions == {"comment-created/0": 12, "comment-created/1": 7}
    assert state(store).topic_ids == {"comment-created": "topic-1", "insight-created": "i"}
    assert (state(store).instance_id, state(store).rules_version) == (instance_id, "1")


def test_a_new_epoch_replaces_positions_and_says_what_ends_the_recovery(store: Store) -> None:
    store.initialize(ORIGIN)
    store.save([fenced(40)])
    instance_id = state(store).instance_id
    assert store.raise_epoch(
        BUCKET, 0, RECOVERY, InitialPositions({"comment-created/0": 3}, {"comment-created": "new"}, "2")
    )
    found = state(store)
    assert found.epoch > 0
    assert (found.rules_version, found.recovery, found.instance_id) == ("2", RECOVERY, instance_id)
    assert (found.positions, found.topic_ids) == ({"comment-created/0": 3}, {"comment-created": "new"})


@pytest.mark.parametrize("seen", [None, 1, 7])
def test_an_epoch_rises_only_from_the_one_seen(store: Store, seen: int | None) -> None:
    store.initialize(ORIGIN)
    before = state(store)
    assert not store.raise_epoch(BUCKET, seen, RECOVERY, ORIGIN)
    assert state(store) == before


def test_a_lost_state_is_recreated_by_the_first_that_sees_it(store: Store) -> None:
    assert not store.raise_epoch(BUCKET, 0, RECOVERY, ORIGIN)
    assert store.raise_epoch(BUCKET, None, RECOVERY, ORIGIN)
    assert not store.raise_epoch(BUCKET, None, RECOVERY, ORIGIN)
    assert state(store).epoch > 0
    assert state(store).positions == ORIGIN.positions
    assert state(store).instance_id


def test_recovery_ends_only_in_the_epoch_it_belongs_to(store: Store) -> None:
    store.initialize(ORIGIN)
    store.raise_epoch(BUCKET, 0, RECOVERY, ORIGIN)
    less = RecoveryGoal(RECOVERY.ends, reconcile=False, reason=RECOVERY.reason)
    began = state(store)
    assert not store.recover(BUCKET, replace(began, epoch=0), None)
    assert state(store).recovery == RECOVERY
    assert store.recover(BUCKET, began, less)
    assert state(store).recovery == less
    assert not store.recover(BUCKET, began, None), "another left less meanwhile"
    assert state(store).recovery == less
    assert store.recover(BUCKET, state(store), None)
    assert state(store).recovery is None
    assert not store.recover(BUCKET, state(store), less), "what has recovered stays recovered"
    assert state(store).recovery is None
    assert not store.recover(bucket_of(2), began, None)


def test_nothing_is_claimed_of_a_bucket_that_recovers(store: Store) -> None:
    store.initialize(ORIGIN)
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    save(store, write(CEM, ABSENT, b"one"))
    store.raise_epoch(BUCKET, 0, RECOVERY, ORIGIN)
    assert keys(claim(store, FOLDER, who="first")) == {CEM}
    recovered(store, BUCKET)
    assert keys(claim(store, FOLDER, who="second")) == {ANN}


def test_an_epoch_raised_twice_rises_once(store: Store) -> None:
    store.initialize(ORIGIN)
    assert store.raise_epoch(BUCKET, 0, RECOVERY, ORIGIN)
    raised = state(store)
    assert not store.raise_epoch(BUCKET, 0, RECOVERY, ORIGIN)
    assert state(store) == raised


def test_no_epoch_comes_twice_where_the_store_falls_back(store: Store) -> None:
    store.initialize(ORIGIN)
    fall_back = keep(store)
    raised = set()
    for _ in range(3):
        assert store.raise_epoch(BUCKET, 0, RECOVERY, ORIGIN)
        raised.add(epoch(store, BUCKET))
        fall_back()
    assert len(raised) == 3


def test_an_epoch_rises_above_all_that_was_seen_of_the_bucket_where_the_clock_was_set_back(store: Store) -> None:
    store.initialize(ORIGIN)
    future = store.clock() + 3_600_000_000
    assert store.raise_epoch(BUCKET, 0, RECOVERY, ORIGIN, future)
    assert epoch(store, BUCKET) == future + 1
    assert store.raise_epoch(BUCKET, future + 1, RECOVERY, ORIGIN)
    assert epoch(store, BUCKET) == future + 2

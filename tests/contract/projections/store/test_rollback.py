"""What a process that remembers the buckets' states notices of a store that rolled back."""

import pytest

from projections.profile_key import bucket_of
from projections.projection import Projection
from projections.store.protocol import InitialPositions, RecoveryGoal, Store
from projections.store.rollback import RollbackDetector
from support.histories import KEYS, comment
from support.rollback import keep

BUCKET = bucket_of(KEYS[0].user_id)
NOWHERE = InitialPositions({}, {}, "1")
RECOVERY = RecoveryGoal({}, reconcile=False, reason="a test")


@pytest.fixture
def detector(store: Store) -> RollbackDetector:
    store.initialize(NOWHERE)
    found = RollbackDetector(store)
    found.accept()
    return found


def test_a_store_that_goes_on_has_not_rolled_back(store: Store, detector: RollbackDetector) -> None:
    for number in range(3):
        Projection(store).apply([comment(KEYS[0], number, 1)])
        read = detector.read()
        assert read.rolled_back == {}
        assert read.states == store.bucket_states()


def test_lost_writes_show(store: Store, detector: RollbackDetector) -> None:
    fall_back = keep(store)
    Projection(store).apply([comment(KEYS[0], 1, 1)])
    detector.read()
    fall_back()
    assert list(detector.read().rolled_back) == [BUCKET]
    assert list(detector.read().rolled_back) == [BUCKET], "until a process has raised the epoch"
    store.raise_epoch(BUCKET, 0, RECOVERY, NOWHERE)
    assert detector.read().rolled_back == {}


def test_writes_that_nobody_saw_do_not_show(store: Store, detector: RollbackDetector) -> None:
    fall_back = keep(store)
    Projection(store).apply([comment(KEYS[0], 1, 1)])
    fall_back()
    assert detector.read().rolled_back == {}


def test_a_missing_state_shows_and_so_does_another_instance_id(store: Store) -> None:
    empty = keep(store)
    store.initialize(NOWHERE)
    Projection(store).apply([comment(KEYS[0], 1, 1)])
    detector = RollbackDetector(store)
    before = detector.accepted
    detector.accept()
    assert (before, detector.accepted) == (False, True)
    empty()
    assert len(detector.read().rolled_back) == 64
    store.initialize(NOWHERE)
    assert BUCKET in detector.read().rolled_back
    detector.accept()
    assert detector.read().rolled_back == {}


def test_an_epoch_that_is_lower_than_before_shows_whatever_the_writes(store: Store, detector: RollbackDetector) -> None:
    fall_back = keep(store)
    store.raise_epoch(BUCKET, 0, RECOVERY, NOWHERE)
    detector.read()
    fall_back()
    for number in range(5):
        Projection(store).apply([comment(KEYS[0], number, 1)])
    assert list(detector.read().rolled_back) == [BUCKET]


def test_the_furthest_state_counts_not_the_last(store: Store, detector: RollbackDetector) -> None:
    fall_back = keep(store)
    for number in range(3):
        Projection(store).apply([comment(KEYS[0], number, 1)])
    detector.read()
    fall_back()
    for number in range(2):
        Projection(store).apply([comment(KEYS[0], number, 1)])
        assert list(detector.read().rolled_back) == [BUCKET]

"""What a process that remembers marks notices of a store that fell back."""

import pytest

from projections.profile_key import bucket_of
from projections.projection import Projection
from projections.store.protocol import Healing, Origin, Store
from projections.store.rollback import Witness
from support.histories import KEYS, comment
from support.rollback import keep

BUCKET = bucket_of(KEYS[0].user_id)
NOWHERE = Origin({}, {}, "1")
HEALING = Healing({}, reconcile=False, reason="a test")


@pytest.fixture
def witness(store: Store) -> Witness:
    store.bear(NOWHERE)
    found = Witness(store)
    found.accept()
    return found


def test_a_store_that_goes_on_has_not_fallen(store: Store, witness: Witness) -> None:
    for number in range(3):
        Projection(store).apply([comment(KEYS[0], number, 1)])
        look = witness.look()
        assert look.fallen == {}
        assert look.marks == store.marks()


def test_lost_writes_show(store: Store, witness: Witness) -> None:
    fall_back = keep(store)
    Projection(store).apply([comment(KEYS[0], 1, 1)])
    witness.look()
    fall_back()
    assert list(witness.look().fallen) == [BUCKET]
    assert list(witness.look().fallen) == [BUCKET], "until somebody has answered it"
    store.raise_epoch(BUCKET, 0, HEALING, NOWHERE)
    assert witness.look().fallen == {}


def test_writes_that_nobody_saw_do_not_show(store: Store, witness: Witness) -> None:
    fall_back = keep(store)
    Projection(store).apply([comment(KEYS[0], 1, 1)])
    fall_back()
    assert witness.look().fallen == {}


def test_a_missing_mark_shows_and_so_does_another_birth(store: Store) -> None:
    empty = keep(store)
    store.bear(NOWHERE)
    Projection(store).apply([comment(KEYS[0], 1, 1)])
    witness = Witness(store)
    before = witness.accepted
    witness.accept()
    assert (before, witness.accepted) == (False, True)
    empty()
    assert len(witness.look().fallen) == 64
    store.bear(NOWHERE)
    assert BUCKET in witness.look().fallen
    witness.accept()
    assert witness.look().fallen == {}


def test_an_epoch_that_is_lower_than_before_shows_whatever_the_writes(store: Store, witness: Witness) -> None:
    fall_back = keep(store)
    store.raise_epoch(BUCKET, 0, HEALING, NOWHERE)
    witness.look()
    fall_back()
    for number in range(5):
        Projection(store).apply([comment(KEYS[0], number, 1)])
    assert list(witness.look().fallen) == [BUCKET]


def test_the_furthest_state_counts_not_the_last(store: Store, witness: Witness) -> None:
    fall_back = keep(store)
    for number in range(3):
        Projection(store).apply([comment(KEYS[0], number, 1)])
    witness.look()
    fall_back()
    for number in range(2):
        Projection(store).apply([comment(KEYS[0], number, 1)])
        assert list(witness.look().fallen) == [BUCKET]

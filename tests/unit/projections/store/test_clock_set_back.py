"""The store's clock is set back by hours: what was due, claimed or forced by then waits no longer than before."""

import pytest

from projections.store.memory import MemoryStore
from projections.store.protocol import ABSENT
from support.stores import ANN, BEN, FOLDER, Clock, claim, keys, save, settlement, write

HOURS = -3 * 3600.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    store = MemoryStore(clock, 0.5)
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    return store


def test_a_due_time(clock: Clock, store: MemoryStore) -> None:
    assert claim(store, FOLDER, 12) == []
    clock.wait(HOURS)
    assert keys(claim(store, FOLDER, 12)) == {ANN}
    save(store, write(BEN, ABSENT, b"one"))
    assert claim(store, FOLDER, 12, "later") == []
    clock.wait(0.5)
    assert keys(claim(store, FOLDER, 12, "later still")) == {BEN}


def test_a_claim_whose_process_ended(clock: Clock, store: MemoryStore) -> None:
    clock.wait(1)
    claim(store, FOLDER, 12, "dead")
    clock.wait(HOURS)
    (taken,) = claim(store, FOLDER, 12)
    assert taken.taken_over
    assert claim(store, FOLDER, 12, "another") == []


def test_a_flush_that_is_forced_later(clock: Clock, store: MemoryStore) -> None:
    clock.wait(1)
    claim(store, FOLDER, 12, "dead")
    clock.wait(13)
    (taken,) = claim(store, FOLDER, 12)
    store.settle(FOLDER.id, "claim", [settlement(taken, b"one", "hash")], 12)
    assert claim(store, FOLDER, 12, "early") == []
    clock.wait(HOURS)
    (forced,) = claim(store, FOLDER, 12, "then")
    assert forced.forced

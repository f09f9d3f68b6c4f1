"""What a process remembers of profiles between two batches saves loads, and never shows in the store."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projections.comments.events import Event
from projections.profile_key import BUCKETS, ProfileKey
from projections.projection import Projection
from projections.store.known_profiles import KnownProfiles
from projections.store.protocol import ABSENT, HEAD, Store, StoreUnavailableError
from support.flushing import Interrupted, fail_at
from support.histories import KEYS, check, comment, deliveries, histories, insight
from support.stores import Bench

KEY, OTHER = KEYS[0], KEYS[2]
FIRST: list[Event] = [comment(KEY, number, 1, f"https://example.org/{number}") for number in range(1, 4)]
SECOND: list[Event] = [
    insight(KEY, 2, 1, ("soup",)),
    comment(KEY, 1, 2, state=1),
    comment(KEY, 9, 1, "https://example.org/2"),
]


class Looking:
    """A projection that knows what it wrote, over a store whose loads are counted."""

    def __init__(self, store: Store, **bounds: int) -> None:
        self.loads = 0
        seen = Interrupted(store, self._note)
        self.projection = Projection(seen, known=KnownProfiles(seen, **bounds))
        self.projection.forget(range(BUCKETS))

    def _note(self, name: str, when: str) -> None:
        self.loads += name == "load" and when == "before"


def contents(store: Store) -> dict[ProfileKey, dict[bytes, bytes]]:
    return {key: dict(store.scan(key)) for key in KEYS}


def test_what_was_written_is_not_loaded_again(store: Store) -> None:
    looking = Looking(store)
    for batch in (FIRST, SECOND):
        assert looking.projection.apply(batch).conflicts == 0
    assert looking.loads == 0
    check(Projection(store), [*FIRST, *SECOND])


def test_the_stores_are_the_same_with_and_without(bench: Bench) -> None:
    """Whatever another process writes or recomputes between two batches, and however little is kept."""

    @settings(
        max_examples=bench.examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.data(), histories, st.sampled_from((0, 2_000, 2**20)))
    def holds(data: st.DataObject, history: list[Event], most: int) -> None:
        acts = [
            (batch, data.draw(st.sampled_from(("", "", "write", "recompute", "guess"))))
            for batch in data.draw(deliveries(history))
        ]
        found = []
        for known in (False, True):
            store = bench.fresh()
            mine = Looking(store, max_bytes=most, max_keys=2).projection if known else Projection(store)
            for batch, act in acts:
                _between(store, mine, act, batch)
                mine.apply(batch)
            found.append(contents(store))
        assert found[0] == found[1]

    holds()


def _between(store: Store, mine: Projection, act: str, batch: list[Event]) -> None:
    other = Projection(store)
    if act == "write":
        other.apply(batch[:1])
    elif act == "guess":
        mine.forget(range(BUCKETS))
    for key in KEYS:
        if act == "recompute" and store.load({key: [HEAD]})[key].version != ABSENT:
            other.recompute(key)


def test_another_writer_between_two_batches_is_a_conflict_and_nothing_is_lost(store: Store) -> None:
    looking = Looking(store)
    looking.projection.apply(FIRST)
    between: list[Event] = [comment(KEY, 20, 1, "https://example.org/1"), insight(KEY, 2, 5, ("bread",))]
    Projection(store).apply(between)
    assert looking.projection.apply(SECOND).conflicts == 1
    check(Projection(store), [*FIRST, *between, *SECOND])


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_save_of_which_the_outcome_is_not_known_is_forgotten(store: Store, when: str) -> None:
    failing = Interrupted(store, fail_at("save", when, 2))
    known = KnownProfiles(failing)
    projection = Projection(store, known=known)
    for batch in (FIRST, SECOND):
        with pytest.raises(StoreUnavailableError):
            projection.apply(batch)
    projection.apply(FIRST)
    projection.apply(SECOND)
    check(Projection(store), [*FIRST, *SECOND])


def test_a_guess_that_a_profile_is_absent_is_no_knowledge(store: Store) -> None:
    Projection(store).apply(FIRST)
    looking = Looking(store)
    assert looking.projection.apply(SECOND).conflicts == 1
    check(Projection(store), [*FIRST, *SECOND])


def test_who_was_forgotten_meanwhile_stays_so(store: Store) -> None:
    looking = Looking(store)
    looking.projection.apply([*FIRST, comment(OTHER, 30, 1)])
    version = store.load({KEY: [HEAD]})[KEY].version
    store.raise_floor(KEY.user_id, 5)
    assert store.remove(KEY, version)
    looking.projection.apply([*SECOND, comment(KEY, 40, 6), comment(OTHER, 31, 1)])
    check(Projection(store), [comment(KEY, 40, 6), comment(OTHER, 30, 1), comment(OTHER, 31, 1)])


def test_what_was_removed_meanwhile_begins_again(store: Store) -> None:
    """What changes nothing is not saved, so it meets no conflict: it was applied before, and removed with the rest."""
    looking = Looking(store)
    looking.projection.apply(FIRST)
    assert store.remove(KEY, store.load({KEY: [HEAD]})[KEY].version)
    assert looking.projection.apply(FIRST).conflicts == 0
    assert looking.projection.apply(SECOND).conflicts == 1
    check(Projection(store), SECOND)


def test_no_more_is_kept_than_the_bound_and_the_last_is_kept(store: Store) -> None:
    looking = Looking(store, max_bytes=4_000)
    for number in range(1, 200):
        looking.projection.apply([comment(ProfileKey(number, "lions"), number, 1)])
    looking.projection.apply([comment(ProfileKey(199, "lions"), 900, 1)])
    assert looking.loads == 0, "all of them were new, and the last one is known"
    looking.projection.apply([comment(ProfileKey(1, "lions"), 901, 1)])
    assert looking.loads == 1

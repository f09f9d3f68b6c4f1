"""Positions and epochs as `Projection.apply` demands and moves them."""

from collections.abc import Collection, Mapping, Sequence

import pytest

from projections.profile_key import ProfileKey, bucket_of
from projections.projection import Fence, Projection
from projections.store.protocol import EpochError, InitialPositions, Loaded, PositionGapError, RecoveryGoal, Save, Store
from support.histories import KEYS, check, comment
from support.stores import Passing

KEY = KEYS[0]
BUCKET = bucket_of(KEY.user_id)
P0, P1 = "comment-created/0", "insight-created/0"
ORIGIN = InitialPositions({P0: 0, P1: 0}, {}, "1")


def fence(end: int, start: int = 0, epoch: int = 0) -> dict[int, Fence]:
    return {BUCKET: Fence(epoch, {P0: (start, end), P1: (0, 2)})}


def positions(store: Store) -> dict[str, int]:
    found = store.bucket_states()[BUCKET]
    assert found is not None
    return dict(found.positions)


def test_positions_move_with_the_events_and_without(store: Store) -> None:
    store.initialize(ORIGIN)
    projection = Projection(store)
    projection.apply([comment(KEY, 1, 1)], fence(3))
    assert positions(store) == {P0: 3, P1: 2}
    projection.apply([comment(KEY, 1, 1)], fence(4, start=3))
    assert positions(store) == {P0: 4, P1: 2}, "events that change nothing are covered too"
    projection.apply([], fence(9, start=4))
    assert positions(store) == {P0: 9, P1: 2}


def test_buckets_without_a_fence_have_no_positions(store: Store) -> None:
    store.initialize(ORIGIN)
    others = [ProfileKey(user, "lions") for user in range(100, 120)]
    Projection(store).apply([comment(key, 1, 1) for key in (*others, KEY)], fence(3))
    assert [state.positions[P0] for state in store.bucket_states() if state] == [
        3 if bucket == BUCKET else 0 for bucket in range(64)
    ]
    assert store.profiles(0, 1000) == sorted([KEY, *others])


def test_a_position_gap_writes_nothing_of_its_bucket(store: Store) -> None:
    store.initialize(ORIGIN)
    with pytest.raises(PositionGapError) as caught:
        Projection(store).apply([comment(KEY, 1, 1)], fence(9, start=5))
    assert (caught.value.bucket, caught.value.stored, caught.value.demanded) == (BUCKET, 0, 5)
    assert store.profiles(0, 100) == []
    assert positions(store) == {P0: 0, P1: 0}


def test_another_epoch_writes_nothing_of_its_bucket(store: Store) -> None:
    store.initialize(ORIGIN)
    store.raise_epoch(BUCKET, 0, RecoveryGoal({}, reconcile=False, reason="a test"), ORIGIN)
    with pytest.raises(EpochError):
        Projection(store).apply([comment(KEY, 1, 1)], fence(9))
    assert store.profiles(0, 100) == []


def test_the_retry_after_a_conflict_moves_the_positions(store: Store) -> None:
    """While another writer's profile stands in the way no position moves."""
    store.initialize(ORIGIN)
    seen: list[tuple[list[list[ProfileKey]], dict[str, int]]] = []

    class Overtaken(Passing):
        def save(self, saves: Sequence[Save]) -> list[list[ProfileKey]]:
            if not seen:
                Projection(store).apply([comment(KEY, 2, 1, "https://theirs.org")])
            conflicts = store.save(saves)
            seen.append((conflicts, positions(store)))
            return conflicts

    applied = Projection(Overtaken(store).as_store()).apply([comment(KEY, 1, 1, "https://mine.org")], fence(3))
    assert (applied.conflicts, applied.dirty) == (1, frozenset({KEY}))
    assert seen == [([[KEY]], {P0: 0, P1: 0}), ([[]], {P0: 3, P1: 2})]
    check(Projection(store), [comment(KEY, 1, 1, "https://mine.org"), comment(KEY, 2, 1, "https://theirs.org")])


def test_a_profile_that_moves_between_the_two_loads_is_loaded_again(store: Store) -> None:
    first = [comment(KEY, 1, 1, "https://shared.org", minute=5)]
    theirs = [comment(KEY, 2, 1, "https://shared.org https://other.org", minute=4)]
    mine = [comment(KEY, 3, 1, "https://shared.org", minute=3)]
    Projection(store).apply(first)
    loads = []

    class Overtaken(Passing):
        def load(self, names: Mapping[ProfileKey, Collection[bytes]]) -> dict[ProfileKey, Loaded]:
            loads.append(names)
            if len(loads) == 2:
                Projection(store).apply(theirs)
            return super().load(names)

    applied = Projection(Overtaken(store).as_store()).apply(mine)
    assert (len(loads), applied.conflicts) == (4, 0)
    check(Projection(store), [*first, *theirs, *mine])


def test_a_removed_profile_starts_again(store: Store) -> None:
    projection = Projection(store)
    projection.apply([comment(KEY, 1, 1)])
    store.remove(KEY, store.load({KEY: ()})[KEY].version)
    projection.apply([comment(KEY, 2, 1)])
    check(projection, [comment(KEY, 2, 1)])

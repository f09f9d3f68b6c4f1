"""Revision floors and blocked users, on every store: what was read of somebody before they were forgotten stays out."""

import json
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from consumer.dead_letters.breaker import BadStreak
from consumer.loop import Loop
from projections.comments.events import Event
from projections.profile_key import BUCKETS, ProfileKey, bucket_of
from projections.projection import Fence, Projection
from projections.remembered.forgotten import BlockedAnywhere, remove_profiles
from projections.store.protocol import ABSENT, InitialPositions, Save, Store, Write, block_at, time_of_block
from snapshot.files.folder import open_folder
from snapshot.files.marker import MARKER, BlockedInMarker
from snapshot.runtime.metrics import NoMetrics
from support.histories import KEYS, check, comment, deliveries, histories
from support.scripted import Broker
from support.stores import ANN, BEN, BUCKET, CEM, FOLDER, ORIGIN, Bench, Passing, claim, save, state, write
from support.tailing import NoDeadLetters

KEY = KEYS[0]
USER = KEY.user_id
BLOCKED = block_at(6)


def floor_of(store: Store, user: int) -> int | None:
    return store.floors(range(BUCKETS)).get(user)


def forget(store: Store, floor: int) -> None:
    store.raise_floor(USER, floor)
    remove_profiles(store, store.profiles(USER, USER))


def test_a_floor_only_rises_and_belongs_to_one_user(store: Store) -> None:
    assert store.floors(range(BUCKETS)) == {}
    for floor in (5, 9, 7):
        store.raise_floor(ANN.user_id, floor)
    store.raise_floor(CEM.user_id, 2**53 + 1)
    assert store.floors([bucket_of(ANN.user_id)])[ANN.user_id] == 9
    assert store.floors(range(BUCKETS)) == {ANN.user_id: 9, CEM.user_id: 2**53 + 1}


def test_only_a_block_is_ended(store: Store) -> None:
    assert not store.end_block(ANN.user_id, 5)
    store.raise_floor(ANN.user_id, 5)
    assert not store.end_block(ANN.user_id, 3)
    store.raise_floor(ANN.user_id, BLOCKED)
    assert store.end_block(ANN.user_id, 8)
    assert floor_of(store, ANN.user_id) == 8


def test_a_changed_floor_counts_as_a_write_so_that_its_loss_is_noticed(store: Store) -> None:
    store.initialize(ORIGIN)
    before = state(store).writes
    store.raise_floor(ANN.user_id, 5)
    store.raise_floor(ANN.user_id, 5)
    assert state(store).writes == before + 1


def test_a_write_that_knows_another_floor_is_a_conflict(store: Store) -> None:
    store.raise_floor(ANN.user_id, 5)
    assert save(store, write(ANN, ABSENT, b"one"), write(BEN, ABSENT, b"one")) == [ANN, BEN]
    assert store.profiles(0, 100) == []
    assert store.save([Save(BUCKET, [_knowing(5), write(BEN, ABSENT, b"one")])]) == [[BEN]]
    assert store.save([Save(BUCKET, [_knowing(5)])]) == [[]], "the same write once more"
    assert save(store, write(CEM, ABSENT, b"one")) == []
    store.raise_floor(ANN.user_id, 6)
    assert store.save([Save(BUCKET, [_knowing(5, b"one", b"two")])]) == [[ANN]]
    assert store.save([Save(BUCKET, [_knowing(None, b"one", b"two")])]) == [[]], "a recompute brings no event"


def _knowing(floor: int | None, expected: bytes = ABSENT, token: bytes = b"one") -> Write:
    return replace(write(ANN, expected, token), floor=floor)


def test_what_is_not_above_the_floor_is_never_counted_in_any_order(bench: Bench) -> None:
    """Contract 1 with a floor: the result is that of the events above it, and other users' are all counted."""

    @settings(max_examples=bench.examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data(), histories, st.integers(1, 4))
    def holds(data: st.DataObject, history: list[Event], floor: int) -> None:
        projection = Projection(bench.fresh())
        batches = data.draw(deliveries(history))
        early = data.draw(st.integers(0, len(batches)))
        for batch in batches[:early]:
            projection.apply(batch)
        forget(projection.store, floor)
        for batch in [*batches[early:], history]:
            projection.apply(batch)
        check(projection, [one for one in history if one.user_id != USER or one.revision > floor])

    holds()


def test_positions_move_past_events_that_are_ignored(store: Store) -> None:
    store.initialize(InitialPositions({"p": 0}, {}, "1"))
    store.raise_floor(USER, BLOCKED)
    applied = Projection(store).apply([comment(KEY, 1, 5)], {bucket_of(USER): Fence(0, {"p": (0, 3)})})
    assert applied.dirty == frozenset()
    assert state(store, bucket_of(USER)).positions == {"p": 3}
    assert store.profiles(USER, USER) == []


class Paused(Passing):
    """A process that loaded its slices, and stopped until the user was forgotten."""

    def save(self, saves: Sequence[Save]) -> list[list[ProfileKey]]:
        if floor_of(self._store, USER) is None:
            forget(self._store, 10)
        return super().save(saves)


@pytest.mark.parametrize("before", [[], [comment(KEY, 1, 5, "see https://example.org/1")]])
def test_a_process_with_an_old_slice_brings_nothing_back(store: Store, before: list[Event]) -> None:
    Projection(store).apply(before)
    zombie = Projection(Paused(store).as_store())
    zombie.apply([comment(KEY, 2, 6), comment(KEYS[2], 3, 6)])
    assert store.profiles(0, 100) == [KEYS[2]]
    zombie.apply([comment(KEY, 4, 11)])
    assert sorted(zombie.registers(KEY)) == [4], "what they write later counts"
    zombie.recompute(KEY)
    assert zombie.apply([comment(KEY, 1, 10), comment(KEY, 4, 12, "see https://example.org/2")]).dirty == {KEY}
    assert sorted(zombie.registers(KEY)) == [4]


def test_a_removed_profile_is_due_in_every_folder_of_its_scope(store: Store) -> None:
    scoped, other = FOLDER._replace(id="2c", group_slug="lions"), FOLDER._replace(id="3d", group_slug="tigers")
    for folder in (FOLDER, scoped, other):
        store.add_folder(folder)
    assert sorted(store.folders()) == sorted([FOLDER, scoped, other])
    store.raise_floor(ANN.user_id, 5)
    remove_profiles(store, [ANN])
    assert [store.pending(folder.id, [ANN, BEN]) for folder in (FOLDER, scoped, other)] == [
        [True, False],
        [True, False],
        [False, False],
    ]
    (claimed,) = claim(store, scoped)
    assert claimed.forced
    assert store.pending(scoped.id, [ANN]) == [True], "claimed"


class Recorded(Passing):
    """Remembers which profiles were saved."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.saved: list[ProfileKey] = []

    def become(self, store: Store) -> None:
        self._store, self.saved = store, []

    def save(self, saves: Sequence[Save]) -> list[list[ProfileKey]]:
        conflicts = super().save(saves)
        written = {write.key for save in saves for write in save.writes}
        self.saved += sorted(written - {key for keys in conflicts for key in keys})
        return conflicts


class Here:
    """A process with a folder whose marker remembers."""

    def __init__(self, bench: Bench, path: Path) -> None:
        self.store = bench.fresh()
        self.marker = BlockedInMarker(path)
        open_folder(path, None).close()

    def floor(self) -> int | None:
        return floor_of(self.store, USER)

    def blocked(self, store: Store | None = None, *, read_only: bool = False) -> frozenset[int]:
        return BlockedAnywhere(lambda: store or self.store, self.marker, read_only=read_only).get()


def test_a_store_that_was_lost_learns_the_block_from_the_folder(bench: Bench, tmp_path: Path) -> None:
    here = Here(bench, tmp_path)
    here.store.raise_floor(USER, BLOCKED)
    here.store.raise_floor(CEM.user_id, 5)
    assert here.blocked() == {USER}
    assert here.marker.get() == {USER}
    lost = bench.fresh()
    Projection(lost).apply([comment(KEY, 1, 5)])
    assert here.blocked(lost, read_only=True) == {USER}
    assert lost.profiles(USER, USER) == [KEY]
    assert here.blocked(lost) == {USER}
    assert lost.profiles(USER, USER) == []
    assert floor_of(lost, USER) == BLOCKED


def test_the_end_of_a_block_reaches_the_folders(bench: Bench, tmp_path: Path) -> None:
    here = Here(bench, tmp_path)
    here.marker.put({USER: BLOCKED})
    here.store.raise_floor(USER, BLOCKED)
    here.store.end_block(USER, 7)
    assert here.blocked(read_only=True) == frozenset()
    assert here.marker.get() == {USER}
    assert here.blocked() == frozenset()
    assert here.marker.get() == frozenset()


def test_a_process_that_knew_the_block_puts_it_back_into_a_store_that_was_lost(bench: Bench, tmp_path: Path) -> None:
    here = Here(bench, tmp_path)
    here.store.raise_floor(USER, BLOCKED)
    now = 0.0
    blocked = BlockedAnywhere(lambda: here.store, here.marker, now=lambda: now)
    assert blocked.get() == {USER}
    here.store = bench.fresh()
    assert blocked.get() == {USER}
    assert here.floor() is None, "looked up a moment ago"
    now = 10.0
    assert blocked.get() == {USER}
    assert here.floor() == BLOCKED
    here.store = bench.fresh()
    assert blocked.enforce() == {USER}
    assert here.floor() == BLOCKED, "at once"


def test_nothing_of_a_blocked_user_comes_out_of_a_log_that_is_read_again(bench: Bench, tmp_path: Path) -> None:
    here = Here(bench, tmp_path)
    store = Recorded(here.store)
    blocked = BlockedAnywhere(store.as_store, here.marker, now=lambda: 0.0)
    broker, seconds = Broker(), count()
    loop = Loop(
        broker.join(),
        Projection(store.as_store()),
        NoDeadLetters(),
        BadStreak(),
        NoMetrics(),
        lambda: float(next(seconds)),
        before_reading=blocked.enforce,
    )
    loop.step(0)
    store.raise_floor(USER, BLOCKED)
    here.marker.put({USER: BLOCKED})
    broker.publish(comment(KEY, 1, 5), comment(KEYS[2], 2, 6))
    for lost in (False, True):
        store.become(bench.fresh() if lost else here.store)
        for _ in range(9):
            loop.step(0)
        assert store.saved == [KEYS[2]]
    assert floor_of(store.as_store(), USER) == BLOCKED


def test_a_block_comes_back_after_a_rollback_to_an_earlier_floor(bench: Bench, tmp_path: Path) -> None:
    """Forgotten once, or blocked and let in again; then blocked; and the store falls back to before that."""
    here = Here(bench, tmp_path)
    here.store.raise_floor(USER, 5)
    here.store.raise_floor(USER, BLOCKED)
    now = 0.0
    blocked = BlockedAnywhere(lambda: here.store, here.marker, now=lambda: now)
    assert blocked.get() == {USER}
    for floor, remains in ((5, {USER}), (7, set[int]())):
        here.store = bench.fresh()
        here.store.raise_floor(USER, floor)  # what a replica had: 7 says that the block was ended
        now += 10.0
        assert blocked.get() == remains
        assert here.marker.get() == remains
        assert here.floor() == (BLOCKED if remains else floor)


class Undone(Passing):
    """A store in which --undo falls between a look at the floors and what follows."""

    def floors(self, buckets: Iterable[int]) -> dict[int, int]:
        found = self._store.floors(buckets)
        self._store.end_block(USER, 9)
        return found


def test_an_undo_that_meets_a_process_that_starts_holds(bench: Bench, tmp_path: Path) -> None:
    here = Here(bench, tmp_path)
    here.store.raise_floor(USER, BLOCKED)
    assert here.blocked(Undone(here.store).as_store()) == {USER}
    assert here.floor() == 9
    here.store.raise_floor(USER, BLOCKED)
    assert here.floor() == 9, "put back by a process that had not seen the end"
    assert here.blocked() == frozenset()
    assert here.marker.get() == frozenset()


@pytest.mark.parametrize("content", [b"", b"{", None])
def test_a_process_that_knew_the_block_keeps_it_where_the_folder_does_not(
    bench: Bench, tmp_path: Path, content: bytes | None
) -> None:
    here = Here(bench, tmp_path)
    here.store.raise_floor(USER, BLOCKED)
    blocked = BlockedAnywhere(lambda: here.store, here.marker, now=lambda: 0.0)
    assert blocked.get() == {USER}
    if content is None:
        (tmp_path / MARKER).unlink()
    else:
        (tmp_path / MARKER).write_bytes(content)
    here.store = bench.fresh()
    assert blocked.enforce() == {USER}
    assert here.floor() == BLOCKED


def test_a_marker_of_before_blocks_had_times_is_read(bench: Bench, tmp_path: Path) -> None:
    here = Here(bench, tmp_path)
    marker = json.loads((tmp_path / MARKER).read_bytes()) | {"blocked": [USER]}
    (tmp_path / MARKER).write_text(json.dumps(marker))
    assert here.blocked() == {USER}
    assert here.floor() == block_at(0)
    here.store.end_block(USER, 5)
    assert here.blocked() == frozenset()
    assert here.marker.get() == frozenset()


def test_an_older_block_without_a_time_is_ended(store: Store) -> None:
    store.raise_floor(USER, 2**63 - 1)
    assert time_of_block(2**63 - 1) == 0
    assert store.end_block(USER, 5)
    assert floor_of(store, USER) == 5

"""DESIGN.md's contracts of the projection, on every store, held against a model that counts everything again."""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings, target
from hypothesis import event as note
from hypothesis import strategies as st

from projections.comments.events import Event
from projections.comments.register import CommentHalf, Register, has_row
from projections.profile_key import ProfileKey
from projections.profiles import fold, ranking
from projections.projection import ProfileView, Projection
from projections.store.protocol import Save, Store
from support import lockstep, naive
from support.aggregates import check_aggregates
from support.histories import KEYS, check, deliveries, histories, shown
from support.stores import Bench, Passing

MANY = 100
"""Of so many examples some do what is hoped for, whatever the dice say."""


class Counting(Projection):
    """Counts its recomputes."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.recomputes = 0

    def recompute(self, key: ProfileKey) -> ProfileView:
        self.recomputes += 1
        return super().recompute(key)


class Resending(Passing):
    """A store to which every save is sent a second time, as redis-py does when an answer is late."""

    def save(self, saves: Sequence[Save]) -> list[list[ProfileKey]]:
        super().save(saves)
        return super().save(saves)


def some(bench: Bench) -> settings:
    return settings(
        max_examples=bench.examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@pytest.fixture(params=["as it is", "tight"])
def rankings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rankings as they are, and ones that keep so little that a recompute is never far, nor its end."""
    if request.param == "tight":
        monkeypatch.setattr(ranking, "KEPT", 1)
        monkeypatch.setattr(ranking, "CANDIDATES", naive.TOP_N)
        monkeypatch.setattr(fold, "MAX_TOUCHED", 2)


@pytest.mark.usefixtures("rankings")
def test_any_order_any_repetition_any_batches_give_the_same(bench: Bench) -> None:
    """Contracts 1 and 2: after each batch the aggregates are those of the registers, in the end those of the model."""
    recomputes = []

    @some(bench)
    @given(st.data(), histories)
    def holds(data: st.DataObject, history: list[Event]) -> None:
        projection = Counting(bench.fresh())
        delivered: list[Event] = []
        for batch in data.draw(deliveries(history)):
            projection.apply(batch)
            delivered += batch
            flags = [check_aggregates(projection.store, key) for key in KEYS]
            if data.draw(st.booleans()):
                check(projection, delivered)
                assert projection.recomputes >= sum(flags)
        check(projection, history)
        assert not any(check_aggregates(projection.store, key) for key in KEYS)
        target(float(projection.recomputes))
        note("recomputed" if projection.recomputes else "never recomputed")
        recomputes.append(projection.recomputes)

    holds()
    if bench.examples >= MANY:
        assert sum(recomputes) > len(recomputes) / 20, "the histories hardly ever need a recompute"


@pytest.mark.usefixtures("rankings")
def test_live_equals_rebuild(bench: Bench) -> None:
    """Contract 3: a history in any batches, and nothing but the rows as they stand at its end."""

    @some(bench)
    @given(st.data(), histories)
    def holds(data: st.DataObject, history: list[Event]) -> None:
        live = Projection(bench.fresh())
        for batch in data.draw(deliveries(history)):
            live.apply(batch)
        seen = [(shown(live, key), rows(live.registers(key))) for key in KEYS]
        rebuilt = Projection(bench.fresh())
        rebuilt.apply(one for one in history if stands(one, history))
        assert [(shown(rebuilt, key), rows(rebuilt.registers(key))) for key in KEYS] == seen

    holds()


def rows(registers: dict[int, Register]) -> dict[int, tuple[CommentHalf | None, tuple[str, ...]]]:
    """Registers without revisions, and without those of comments that have no row."""
    return {number: (one.comment, one.labels) for number, one in registers.items() if has_row(one)}


def stands(event: Event, history: list[Event]) -> bool:
    """Whether a table would hold this reading: it has a row, and nothing replaced it."""
    key = ProfileKey(event.user_id, event.group_slug)
    only = [one for one in history if type(one) is type(event) and one.comment_id == event.comment_id]
    alone = naive.latest([event])[key][event.comment_id]
    final = naive.latest(only)[key][event.comment_id]
    gone = alone.half is not None and alone.half[0] == 2
    return alone == final and not gone


@pytest.mark.usefixtures("rankings")
def test_writers_and_readers_at_once_end_in_the_same(bench: Bench) -> None:
    """Two writers, whose saves all arrive twice, and two that recompute, interleaved at every call."""
    counts = {"conflicts": 0, "recomputes": 0}

    @some(bench)
    @given(st.data(), histories)
    def holds(data: st.DataObject, history: list[Event]) -> None:
        store = bench.fresh()
        halves = [data.draw(deliveries(history)), data.draw(deliveries(history))]

        def writing(batches: list[list[Event]]) -> lockstep.Program:
            def run(mine: Store) -> None:
                projection = Projection(Resending(mine).as_store())
                for batch in batches:
                    counts["conflicts"] += projection.apply(batch).conflicts

            return run

        def reading(mine: Store) -> None:
            projection = Counting(Resending(mine).as_store())
            for _ in range(3):
                projection.read_current(KEYS)
            projection.recompute(KEYS[0])
            counts["recomputes"] += projection.recomputes

        turns = iter(data.draw(st.lists(st.integers(0, 3), min_size=7, max_size=50)) * 4)
        programs = [*map(writing, halves), reading, reading]
        lockstep.run(store, programs, lambda alive: next(turns, 0) % alive)
        check(Projection(store), history)

    holds()
    if bench.examples >= MANY:
        assert min(counts.values()) > bench.examples / 10, counts

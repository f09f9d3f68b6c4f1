"""Contract 4: what an event costs depends on the event, not on the history: in calls and fields, not in seconds."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import pytest

from projections.comments.events import Event
from projections.profile_key import ProfileKey
from projections.projection import Projection
from projections.store.protocol import Loaded, Save, Store
from support.histories import KEYS, comment, insight
from support.stores import Passing

KEY = KEYS[0]


class Cost(NamedTuple):
    calls: int
    asked: int
    loaded: int
    sets: int
    deletes: int
    scanned: int


class Counted(Passing):
    """A store that counts what passes."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.cost = Cost(0, 0, 0, 0, 0, 0)
        self.head_bytes = 0

    def _add(self, *more: int) -> None:
        self.cost = Cost(*(one + another for one, another in zip(self.cost, more, strict=True)))

    def load(self, names: Mapping[ProfileKey, Collection[bytes]]) -> dict[ProfileKey, Loaded]:
        found = super().load(names)
        self._add(1, sum(map(len, names.values())), sum(len(one.fields) for one in found.values()), 0, 0, 0)
        return found

    def save(self, saves: Sequence[Save]) -> list[list[ProfileKey]]:
        writes = [write for one in saves for write in one.writes]
        self._add(1, 0, 0, sum(len(one.sets) for one in writes), sum(len(one.deletes) for one in writes), 0)
        self.head_bytes = max((len(one.sets.get(b"h", b"")) for one in writes), default=0)
        return super().save(saves)

    def scan(self, key: ProfileKey) -> Iterator[tuple[bytes, bytes]]:
        self._add(1, 0, 0, 0, 0, 0)
        for field in super().scan(key):
            self._add(0, 0, 0, 0, 0, 1)
            yield field


def history(comments: int) -> list[Event]:
    """Comments with a link and a tag that all have, and one of each that only few have."""
    built: list[Event] = []
    for number in range(1, comments + 1):
        text = f"https://everywhere.org https://example.org/{number % (comments // 4)}"
        built.append(comment(KEY, number, 0, text, minute=number))
        built.append(insight(KEY, number, 0, ("everywhere", f"label {number % (comments // 4)}")))
    return built


CHANGES: dict[str, list[Event]] = {
    "a new comment": [comment(KEY, 99_999, 1, "https://everywhere.org https://new.org", minute=50_000)],
    "a comment before all others": [comment(KEY, 99_999, 1, "https://everywhere.org", minute=-1)],
    "an analysis": [insight(KEY, 99_999, 1, ("everywhere", "new"))],
    "a deletion": [comment(KEY, 7, 1, minute=7, state=1)],
    "an edit": [comment(KEY, 7, 1, "https://everywhere.org/edited", minute=7)],
    "a redelivery": [comment(KEY, 7, 0, "", minute=7)],
    "many at once": [comment(KEY, 50_000 + number, 1, "https://everywhere.org") for number in range(50)],
}


@pytest.mark.parametrize("change", CHANGES)
def test_applying_costs_the_same_whatever_the_history(store: Store, change: str) -> None:
    costs = []
    heads = []
    for length in (20, 20_000):
        counted = Counted(store)
        projection = Projection(counted.as_store())
        projection.apply(history(length))
        counted.cost = Cost(0, 0, 0, 0, 0, 0)
        projection.apply(CHANGES[change])
        costs.append(counted.cost)
        heads.append(counted.head_bytes)
        store.remove(KEY, store.load({KEY: ()})[KEY].version)
    assert costs[0] == costs[1]
    assert costs[0].scanned == 0
    assert costs[0].calls <= 3, "load, load the labels, save"
    assert heads[1] < 2_000


def test_showing_costs_one_load_whatever_the_history(store: Store) -> None:
    counted = Counted(store)
    projection = Projection(counted.as_store())
    projection.apply(history(2_000))
    counted.cost = Cost(0, 0, 0, 0, 0, 0)
    projection.read_current([KEY])
    assert counted.cost == Cost(1, 1, 1, 0, 0, 0)


def test_a_batch_costs_three_calls_however_many_profiles(store: Store) -> None:
    counted = Counted(store)
    projection = Projection(counted.as_store())
    everybody = [ProfileKey(user, slug) for user in range(200) for slug in ("lions", "tigers")]
    projection.apply([comment(key, 1, 1, "https://a.org") for key in everybody])
    counted.cost = Cost(0, 0, 0, 0, 0, 0)
    projection.apply([comment(key, 2, 1, "https://a.org") for key in everybody])
    assert counted.cost.calls == 3
    assert counted.cost.asked == len(everybody) * 3, "head, register, link"


def test_what_changes_nothing_is_not_written(store: Store) -> None:
    counted = Counted(store)
    projection = Projection(counted.as_store())
    projection.apply(history(40))
    counted.cost = Cost(0, 0, 0, 0, 0, 0)
    applied = projection.apply(history(40))
    assert (applied.dirty, applied.conflicts) == (frozenset(), 0)
    assert (counted.cost.calls, counted.cost.sets) == (1, 0)


def test_a_newer_reading_of_the_same_content_writes_its_revision_alone(store: Store) -> None:
    counted = Counted(store)
    projection = Projection(counted.as_store())
    projection.apply([comment(KEY, 1, 1, "https://a.org"), insight(KEY, 1, 1, ("tag",))])
    head = projection.read_current([KEY])[KEY].head
    counted.cost = Cost(0, 0, 0, 0, 0, 0)
    applied = projection.apply([comment(KEY, 1, 9, "https://a.org"), insight(KEY, 1, 9, ("tag",))])
    assert applied.dirty == frozenset()
    assert counted.cost.sets == 1
    assert projection.read_current([KEY])[KEY].head == head
    register = projection.registers(KEY)[1]
    assert (register.comment_revision, register.insight_revision) == (9, 9)


def test_retractions_read_no_history(store: Store) -> None:
    counted = Counted(store)
    projection = Projection(counted.as_store())
    projection.apply(history(400))
    counted.cost = Cost(0, 0, 0, 0, 0, 0)
    for number in range(1, 301):
        projection.apply([comment(KEY, number, 1, minute=number, state=1)])
    assert counted.cost.scanned == 0
    assert counted.cost.loaded <= 300 * 6, "head, register, two links, two tags"

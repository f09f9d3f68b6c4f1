"""Recomputing: it ends whatever others do meanwhile, and loses nothing of it."""

import itertools
from collections.abc import Callable, Iterator, Sequence

import pytest

from projections.codec import unpack_head
from projections.comments.events import Event
from projections.profile_key import ProfileKey
from projections.profiles import fold
from projections.profiles.head import Head
from projections.profiles.ranking import CANDIDATES, KEPT
from projections.projection import Projection
from projections.store.protocol import HEAD, Save, Store
from support import lockstep, naive
from support.aggregates import check_aggregates
from support.histories import KEYS, check, comment, insight, shown
from support.stores import Bench, Passing, save, write

KEY = KEYS[0]
LONG = 120


def long_history() -> list[Event]:
    """A label on every comment, and one more label each."""
    built: list[Event] = []
    for number in range(1, LONG + 1):
        built.append(comment(KEY, number, 0, "https://everywhere.org", minute=number))
        built.append(insight(KEY, number, 0, ("everywhere", f"only on {number}")))
    return built


def retracting() -> list[Event]:
    """The first comments go: nobody knows any more where the label appears first."""
    return [comment(KEY, number, 1, minute=number, state=1) for number in range(1, KEPT + 1)]


def flagged(store: Store) -> Projection:
    """A long profile that needs a recompute."""
    projection = Projection(store)
    projection.apply(long_history())
    projection.apply(retracting())
    assert head(store).needs_recompute()
    return projection


def head(store: Store) -> Head:
    return unpack_head(store.load({KEY: [HEAD]})[KEY].fields[HEAD])


def test_first_appearances_are_found_again(store: Store) -> None:
    projection = flagged(store)
    check(projection, [*long_history(), *retracting()])
    assert not head(store).needs_recompute()


def test_a_list_that_shrinks_below_its_bar_is_filled_again(store: Store) -> None:
    often = [
        insight(KEY, number, 0, tuple(f"often {label}" for label in range(CANDIDATES + 2))) for number in range(1, 4)
    ]
    seldom = [insight(KEY, 10, 0, ("seldom",))]
    written = [comment(KEY, number, 0, minute=number) for number in (1, 2, 3, 10)]
    fewer = [insight(KEY, number, 1, ("often 0",)) for number in range(1, 4)]
    projection = Projection(store)
    projection.apply([*written, *often, *seldom])
    assert head(store).tags.cutoff is not None
    projection.apply(fewer)
    assert head(store).needs_recompute()
    assert shown(projection, KEY).tags == [("often 0", 3), ("seldom", 1)]
    assert head(store).tags.cutoff is None


def test_a_recompute_changes_the_version_and_gives_the_new_one(store: Store) -> None:
    projection = flagged(store)
    before = store.load({KEY: ()})[KEY].version
    found = projection.read_current([KEY])[KEY]
    assert found.version == store.load({KEY: ()})[KEY].version != before
    assert projection.read_current([KEY])[KEY] == found, "recomputed once"


def test_a_recompute_repairs_what_is_wrong_without_a_flag(store: Store) -> None:
    projection = Projection(store)
    projection.apply(long_history())
    version, fields = store.load({KEY: [HEAD]})[KEY]
    wrong = {HEAD: fields[HEAD], b"tnever said": fields[HEAD], b"leverywhere": b""}
    save(store, write(KEY, version, b"wrong", wrong, [b"teverywhere", b"tonly on 7"]))
    projection.recompute(KEY)
    check(projection, long_history())
    assert not check_aggregates(store, KEY)


def test_a_recompute_restores_a_lost_head(store: Store) -> None:
    projection = Projection(store)
    projection.apply(long_history())
    save(store, write(KEY, store.load({KEY: ()})[KEY].version, b"wrong", {b"tonly on 7": b"x"}, [HEAD]))
    assert projection.recompute(KEY).head is not None
    check(projection, long_history())


def test_there_is_nothing_to_recompute_where_there_is_no_profile(store: Store) -> None:
    projection = Projection(store)
    assert projection.recompute(KEY) == (b"", None)
    assert projection.read_current([KEY]) == {KEY: (b"", None)}
    projection.apply([insight(KEY, 1, 1)])
    assert projection.read_current([KEY])[KEY].head is None, "an analysis that says nothing makes no head"
    assert shown(projection, KEY) == naive.counted({})


def every(turn: int) -> Callable[[int], int]:
    """The second program makes one call in so many."""
    calls = itertools.count()
    return lambda alive: min(alive - 1, int(next(calls) % turn == 0))


@pytest.mark.parametrize("turn", [2, 3, 5])
def test_a_recompute_ends_under_steady_traffic(store: Store, turn: int) -> None:
    """A writer that saves again and again while all registers are read does not make the recompute start again."""
    flagged(store)
    ended = []

    def recomputing(mine: Store) -> None:
        Projection(mine).recompute(KEY)
        ended.append(head(store).needs_recompute())

    def writing(mine: Store) -> None:
        while not ended:
            single(mine)

    single = one_more(itertools.count(1))
    lockstep.run(store, [recomputing, writing], every(turn), most_calls=40 * turn)
    assert ended == [False]
    assert not check_aggregates(store, KEY)


def one_more(steps: "itertools.count[int]") -> Callable[[Store], None]:
    """Writes a new state of the next comment."""

    def write_one(store: Store) -> None:
        step = next(steps)
        number = KEPT + 1 + step % (LONG - KEPT)
        text = f"https://everywhere.org/{step}"
        Projection(store).apply([comment(KEY, number, 1 + step, text, minute=number)])

    return write_one


@pytest.mark.parametrize("turn", [2, 3])
def test_two_recomputers_do_not_keep_each_other_from_ending(store: Store, turn: int) -> None:
    flagged(store)

    def recomputing(mine: Store) -> None:
        Projection(mine).recompute(KEY)

    lockstep.run(store, [recomputing, recomputing], every(turn), most_calls=150)
    check(Projection(store), [*long_history(), *retracting()])


def test_a_recomputer_that_died_is_no_hindrance(store: Store) -> None:
    projection = flagged(store)

    class DyingError(Exception):
        pass

    class Dying(Passing):
        def scan(self, key: ProfileKey) -> Iterator[tuple[bytes, bytes]]:
            raise DyingError(key)

    with pytest.raises(DyingError):
        Projection(Dying(store).as_store()).recompute(KEY)
    assert head(store).recomputer
    more = [comment(KEY, LONG, 5, "https://later.org", minute=LONG)]
    projection.apply(more)
    assert head(store).touched == [LONG]
    check(projection, [*long_history(), *retracting(), *more])
    assert (head(store).recomputer, head(store).touched) == ("", [])


def test_a_recompute_under_which_too_much_changes_begins_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "MAX_TOUCHED", 3)
    flagged(store)
    later = [comment(KEY, number, 3, "https://later.org", minute=number) for number in range(20, 40)]
    begun = []

    class Overtaken(Passing):
        def scan(self, key: ProfileKey) -> Iterator[tuple[bytes, bytes]]:
            begun.append(key)
            if len(begun) == 1:
                Projection(store).apply(later)
                assert head(store).recomputer == ""
            return store.scan(key)

    Projection(Overtaken(store).as_store()).read_current([KEY])
    assert len(begun) == 2
    check(Projection(store), [*long_history(), *retracting(), *later])


def test_a_profile_removed_under_a_recompute_stays_removed(store: Store) -> None:
    flagged(store)

    class Removed(Passing):
        def save(self, saves: Sequence[Save]) -> list[list[ProfileKey]]:
            store.remove(KEY, store.load({KEY: ()})[KEY].version)
            return super().save(saves)

    assert Projection(Removed(store).as_store()).recompute(KEY).head is None
    assert store.profiles(0, 10) == []


def test_however_many_retractions_there_is_one_recompute(bench: Bench) -> None:
    """Contract 4: a recompute reads the history once, however many retractions came before."""
    scans = []

    class Scanned(Passing):
        def scan(self, key: ProfileKey) -> Iterator[tuple[bytes, bytes]]:
            scans.append(key)
            return super().scan(key)

    projection = Projection(Scanned(bench.fresh()).as_store())
    projection.apply(long_history())
    for number in range(1, LONG - 1):
        projection.apply([comment(KEY, number, 1, minute=number, state=1)])
        projection.apply([insight(KEY, number, 1)])
    projection.read_current([KEY])
    projection.read_current([KEY])
    assert len(scans) == 1


def test_a_save_of_a_recompute_that_arrives_late_does_nothing(store: Store) -> None:
    flagged(store)
    sent: list[Save] = []

    class Noting(Passing):
        def save(self, saves: Sequence[Save]) -> list[list[ProfileKey]]:
            sent.extend(saves)
            return super().save(saves)

    Projection(Noting(store).as_store()).recompute(KEY)
    after = [comment(KEY, LONG, 9, "https://later.org", minute=LONG)]
    Projection(store).apply(after)
    assert store.save(sent) == [[KEY], [KEY]]
    check(Projection(store), [*long_history(), *retracting(), *after])

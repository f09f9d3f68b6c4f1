"""EarliestComments and rankings against the sets that they stand for."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from projections.profiles.ranking import CANDIDATES, KEPT, TOP_N, Appearance, EarliestComments, LabelStats, Ranking

appearances = st.tuples(st.integers(0, 3), st.integers(0, 9), st.just(0))


def at(second: int) -> Appearance:
    return (second, 0, 0)


def filled(seconds: range) -> EarliestComments:
    few = EarliestComments()
    for second in seconds:
        few.add(at(second))
    return few


@given(st.lists(st.tuples(st.booleans(), appearances), max_size=60))
def test_extremes_are_a_prefix_of_the_set_and_know_whether_they_are_all_of_it(
    steps: list[tuple[bool, Appearance]],
) -> None:
    few, everything = EarliestComments(), set[Appearance]()
    for adding, item in steps:
        if adding and item not in everything:
            few.add(item)
            everything.add(item)
        elif not adding and item in everything:
            few.remove(item)
            everything.discard(item)
        assert few.kept == sorted(everything)[: len(few.kept)]
        assert len(few.kept) <= KEPT
        assert not few.complete or len(few.kept) == len(everything)


def test_extremes_outlast_so_many_retractions_and_no_more() -> None:
    few = filled(range(10))
    for second in range(KEPT):
        assert few.kept[0] == at(second)
        few.remove(at(second))
    assert few.kept == []
    assert not few.complete


def test_a_later_one_is_not_appended_where_unknown_ones_may_lie_between() -> None:
    few = filled(range(KEPT + 1))
    few.remove(at(0))
    few.add(at(99))
    assert few.kept == [at(second) for second in range(1, KEPT)]


def test_while_all_are_kept_a_later_one_is_appended() -> None:
    few = filled(range(KEPT))
    few.remove(at(0))
    few.add(at(99))
    assert (few.kept[-1], few.complete) == (at(99), True)


def test_what_was_never_kept_is_removed_without_a_trace() -> None:
    few = filled(range(10))
    before = list(few.kept)
    few.remove(at(8))
    assert (few.kept, few.complete) == (before, False)


def test_a_comment_that_names_it_elsewhere_keeps_its_place() -> None:
    few = EarliestComments()
    for comment in range(1, 7):
        few.add((5, comment, 0))
    few.shift((5, KEPT, 0), (5, KEPT, 3))
    assert few.kept[-1] == (5, KEPT, 3)
    few.shift((5, 6, 0), (5, 6, 3))
    assert len(few.kept) == KEPT


def test_a_comment_with_another_time_may_leave_or_enter() -> None:
    few = filled(range(6))
    few.shift(at(0), at(50))
    assert few.kept == [at(1), at(2), at(3)]
    few.shift(at(5), (0, 7, 0))
    assert few.kept[0] == (0, 7, 0)


def test_a_label_counts_occurrences_and_ranks_by_first_appearance() -> None:
    label = LabelStats()
    label.appear((5, 2, 1), 3)
    label.appear((4, 9, 0), 1)
    assert label.rank() == (-4, 4, 9, 0)
    label.retract((4, 9, 0), 1)
    assert label.rank() == (-3, 5, 2, 1)
    label.replace(((5, 2, 1), 3), ((6, 2, 0), 1))
    assert label == LabelStats(1, EarliestComments([(6, 2, 0)]))
    label.retract((6, 2, 0), 1)
    assert label == LabelStats()


def test_a_label_that_lost_all_it_kept_is_not_known_and_ranks_last_of_its_count() -> None:
    label, other = LabelStats(), LabelStats()
    for second in range(KEPT + 2):
        label.appear(at(second), 1)
    for second in range(KEPT):
        label.retract(at(second), 1)
    other.appear((2**61, 0, 0), 2)
    assert not label.known()
    assert label.count == other.count == 2
    assert label.rank() > other.rank()
    label.retract(at(KEPT), 1)
    label.retract(at(KEPT + 1), 1)
    assert label == LabelStats(), "with nothing left everything is known again"


names = st.integers(0, CANDIDATES + 6).map(lambda number: f"label {number:02}")
counts = st.integers(0, 4)


@given(st.lists(st.tuples(names, counts), max_size=120))
def test_a_ranking_lists_the_first_of_all_or_says_that_it_is_too_short(steps: list[tuple[str, int]]) -> None:
    ranking = Ranking()
    ranks: dict[str, tuple[int, int, int, int]] = {}
    for name, count in steps:
        ranks.pop(name, None)
        if count:
            ranks[name] = (-count, int(name[-2:]), 0, 0)
        ranking.place(name, ranks.get(name))
        truth = sorted((*rank, label) for label, rank in ranks.items())
        assert ranking.leaders == truth[: len(ranking.leaders)]
        assert len(ranking.leaders) <= CANDIDATES
        assert ranking.cutoff is not None or ranking.leaders == truth
        assert ranking.too_short() or ranking.leaders[:TOP_N] == truth[:TOP_N]


def test_on_overflow_the_last_one_leaves_and_its_rank_is_the_bar() -> None:
    ranking = Ranking()
    for number in range(CANDIDATES + 1):
        ranking.place(f"label {number}", (-100 + number, 0, 0, 0))
    assert len(ranking.leaders) == CANDIDATES
    assert ranking.cutoff == (-100 + CANDIDATES, 0, 0, 0)
    ranking.place("weaker", (-1, 0, 0, 0))
    assert len(ranking.leaders) == CANDIDATES
    ranking.place("label 3", (-2, 0, 0, 0))
    assert "label 3" not in [leader[4] for leader in ranking.leaders]
    assert ranking.cutoff == (-100 + CANDIDATES, 0, 0, 0), "the cutoff never falls"
    ranking.place(f"label {CANDIDATES}", ranking.cutoff)
    assert len(ranking.leaders) == CANDIDATES - 1, "it does not beat the cutoff, though there is room"


def test_too_short_is_a_list_with_a_bar_and_less_than_is_shown() -> None:
    ranking = Ranking()
    ranking.place("only", (-1, 0, 0, 0))
    assert not ranking.too_short()
    ranking.cutoff = (-1, 5, 0, 0)
    assert ranking.too_short()
    for number in itertools.takewhile(lambda _: ranking.too_short(), range(10)):
        ranking.place(f"label {number}", (-2, number, 0, 0))
    assert len(ranking.leaders) == TOP_N

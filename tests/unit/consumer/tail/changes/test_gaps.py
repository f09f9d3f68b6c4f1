"""Ids that are missing below the head."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.tail.changes.gaps import MAX_AGE, NARROW, Gaps, MissingIds

ID_SETS = st.sets(st.integers(1, 200), min_size=1)


def ids(gaps: Gaps) -> set[int]:
    return {number for gap in gaps for number in range(gap.low, gap.high + 1)}


@given(ID_SETS)
def test_notes_exactly_what_is_missing(found: set[int]) -> None:
    gaps = Gaps()
    gaps.add(0, sorted(found), since=1, xmax=1)
    assert ids(gaps) == set(range(1, max(found))) - found


@given(ID_SETS, ID_SETS)
def test_what_appears_is_missing_no_longer(found: set[int], later: set[int]) -> None:
    gaps = Gaps()
    gaps.add(0, sorted(found), since=1, xmax=1)
    gaps.fill(later, since=2, xmax=2)
    assert ids(gaps) == set(range(1, max(found))) - found - later


def test_a_gap_is_kept_for_a_minute_and_until_its_transactions_have_ended() -> None:
    gaps = Gaps([MissingIds(5, 6, since=0, xmax=100)])
    gaps.expire(MAX_AGE - 1, xmin=200)
    gaps.expire(MAX_AGE, xmin=99)
    assert ids(gaps) == {5, 6}
    gaps.expire(MAX_AGE, xmin=100)
    assert not len(gaps)


def test_above_an_id_that_appeared_a_gap_is_kept_again() -> None:
    gaps = Gaps([MissingIds(10, 10**12, since=0, xmax=100)])
    gaps.fill([12], since=50, xmax=300)
    assert list(gaps) == [MissingIds(10, 11, 0, 100), MissingIds(13, 10**12, 50, 300)]


def test_a_wide_gap_is_not_named_id_by_id() -> None:
    gaps = Gaps([MissingIds(1, 3, 0, 0), MissingIds(10, 10 + NARROW, 0, 0)])
    assert gaps.narrow_ids() == [1, 2, 3]
    assert gaps.wide() == [MissingIds(10, 10 + NARROW, 0, 0)]


def test_of_too_many_gaps_the_oldest_are_given_up() -> None:
    gaps = Gaps([MissingIds(1, 1, since=7, xmax=0), MissingIds(3, 3, since=5, xmax=0)], limit=2)
    gaps.add(4, [6], since=9, xmax=0)
    assert list(gaps) == [MissingIds(1, 1, 7, 0), MissingIds(5, 5, 9, 0)]

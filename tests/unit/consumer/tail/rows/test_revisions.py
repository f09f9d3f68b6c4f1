"""Revisions grow, whatever the clock does."""

from consumer.tail.rows.revisions import Revisions


def test_a_revision_is_the_clock_s_time() -> None:
    assert Revisions(lambda: 1_000, 5).next() == 1_000


def test_revisions_grow_though_the_clock_stands_or_goes_back() -> None:
    times = iter([1_000, 1_000, 500, 2_000])
    revisions = Revisions(lambda: next(times), 0)
    assert [revisions.next() for _ in range(4)] == [1_000, 1_001, 1_002, 2_000]


def test_they_begin_above_what_was_reserved_before() -> None:
    assert Revisions(lambda: 1_000, 7_000).next() == 7_001


def test_numbers_and_what_was_fixed_elsewhere_count_too() -> None:
    revisions = Revisions(lambda: 1_000, 0)
    revisions.saw(3_000)
    assert revisions.number() == 3_001
    assert revisions.next() == 3_002

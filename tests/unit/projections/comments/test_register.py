"""Registers: how readings replace each other, and what a digest sees of them."""

import itertools
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.comments import register
from projections.comments.events import CommentCreated, InsightCreated
from projections.comments.register import (
    DELETED,
    EMPTY_REGISTER,
    GONE,
    LIVE,
    CommentHalf,
    HalfUpdate,
    Register,
    half_of,
    merge,
)
from projections.profile_key import ProfileKey
from support.histories import comment, events, insight

KEY = ProfileKey(1, "lions")
LINKED = "https://b.org https://a.org https://b.org\n(Reactions: Ann 👍)\n[attachments: a.png]"


def half(event: CommentCreated) -> CommentHalf:
    found = half_of(event).comment
    assert found is not None
    return found


def test_a_live_comment_gives_what_its_body_says() -> None:
    assert half(comment(KEY, 1, 1, LINKED, request=7)) == CommentHalf(
        LIVE,
        1_714_550_400_000_000,
        7,
        (("https://b.org/", 0, 2), ("https://a.org/", 1, 1)),
        (("👍", 1),),
        (("image", 1),),
    )


def test_a_deleted_comment_keeps_its_row_and_says_nothing() -> None:
    assert half(comment(KEY, 1, 1, LINKED, request=7, state=1)) == CommentHalf(DELETED, 1_714_550_400_000_000, 7)


def test_of_a_comment_that_is_gone_nothing_is_left() -> None:
    assert half(comment(KEY, 1, 1, LINKED, request=7, state=2)) == CommentHalf(GONE, 0, 0)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (datetime(1970, 1, 1), 0),  # noqa: DTZ001  UTC, as stored
        (datetime(1969, 12, 31, 23, 59, 59, 999_999), -1),  # noqa: DTZ001  UTC, as stored
        (datetime(2024, 2, 29, 1, 2, 3, 4), 1_709_168_523_000_004),  # noqa: DTZ001  UTC, as stored
        (datetime(2024, 2, 29, 3, 2, 3, 4, tzinfo=timezone(timedelta(hours=2))), 1_709_168_523_000_004),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), 253_402_300_799_999_999),
        (datetime(1, 1, 1, tzinfo=UTC), -62_135_596_800_000_000),
    ],
)
def test_moments_are_exact_microseconds(moment: datetime, expected: int) -> None:
    event = msgspec.structs.replace(comment(KEY, 1, 1), created_at=moment)
    assert half(event).created_at == expected


def test_an_insight_gives_its_labels_once_each_in_order() -> None:
    event = InsightCreated(
        comment_id=1,
        user_id=1,
        group_slug="g",
        resource_tags=("b", "a"),
        request_tags=("b",),
        tags=(" c ", ""),
        revision=4,
    )
    assert half_of(event) == HalfUpdate(1, 4, None, ("b", "a", "c"))


def test_the_higher_revision_wins_whatever_comes_first() -> None:
    old, new = half_of(comment(KEY, 1, 3, "old")), half_of(comment(KEY, 1, 5, LINKED))
    assert merge(EMPTY_REGISTER, [old, new]) == merge(merge(EMPTY_REGISTER, [new]), [old])
    assert merge(EMPTY_REGISTER, [new, old]).comment_revision == 5


def test_equal_content_only_raises_the_revision() -> None:
    first = merge(EMPTY_REGISTER, [half_of(comment(KEY, 1, 3, LINKED)), half_of(insight(KEY, 1, 3, ("tag",)))])
    second = merge(first, [half_of(comment(KEY, 1, 9, LINKED)), half_of(insight(KEY, 1, 8, ("tag",)))])
    assert second != first
    assert (second.comment, second.labels) == (first.comment, first.labels)
    assert (second.comment_revision, second.insight_revision) == (9, 8)


@pytest.mark.parametrize("better", [1, 2])
def test_between_readings_of_one_revision_deleted_wins(better: int) -> None:
    for order in itertools.permutations([comment(KEY, 1, 3, LINKED), comment(KEY, 1, 3, LINKED, state=better)]):
        found = merge(EMPTY_REGISTER, map(half_of, order)).comment
        assert found is not None
        assert found.state == better


def test_between_insights_of_one_revision_the_vanished_one_wins() -> None:
    for order in itertools.permutations([insight(KEY, 1, 3, ("z",)), insight(KEY, 1, 3), insight(KEY, 1, 3, ("a",))]):
        assert merge(EMPTY_REGISTER, map(half_of, order)).labels == ()


def test_between_two_sets_of_labels_of_one_revision_the_greater_bytes_win() -> None:
    for order in itertools.permutations([insight(KEY, 1, 3, (letter,)) for letter in "bca"]):
        assert merge(EMPTY_REGISTER, map(half_of, order)).labels == ("c",)


def test_between_two_texts_of_one_revision_the_greater_bytes_win() -> None:
    texts = [comment(KEY, 1, 3, f"https://{letter}.org") for letter in "bca"]
    for order in itertools.permutations(texts):
        found = merge(EMPTY_REGISTER, map(half_of, order)).comment
        assert found is not None
        assert found.links[0][0] == "https://c.org/"


@given(st.lists(events, max_size=8), st.randoms())
def test_merging_knows_no_order_and_no_repetition(
    history: list[CommentCreated | InsightCreated], chance: object
) -> None:
    readings = list(map(half_of, history))
    shuffled = [*readings, *readings[:3]]
    assert hasattr(chance, "shuffle")
    chance.shuffle(shuffled)
    assert merge(EMPTY_REGISTER, readings) == merge(EMPTY_REGISTER, shuffled)
    assert merge(merge(EMPTY_REGISTER, shuffled[:4]), shuffled[4:]) == merge(EMPTY_REGISTER, readings)


@given(st.lists(events, max_size=8))
def test_a_register_is_kept_as_it_is(history: list[CommentCreated | InsightCreated]) -> None:
    whole = merge(EMPTY_REGISTER, map(half_of, history))
    assert register.unpack(register.pack(whole)) == whole


def test_packed_registers_are_fixed() -> None:
    """Another spelling would make every stored profile unreadable, and every digest different."""
    whole = merge(
        EMPTY_REGISTER, [half_of(comment(KEY, 1, 3, "https://a.org", request=7)), half_of(insight(KEY, 1, 4, ("b",)))]
    )
    assert register.pack(whole).hex() == (
        "94039600cf0006175fdf8aa000079193ae68747470733a2f2f612e6f72672f000190900491a162"
    )
    assert register.fingerprint(1, whole) == 0xB98C0D6FEF689D09CA4EFC812B954ABC


def test_the_digest_sees_content_but_no_revision() -> None:
    one = merge(EMPTY_REGISTER, [half_of(comment(KEY, 1, 3, LINKED)), half_of(insight(KEY, 1, 4, ("b",)))])
    newer = Register(9, one.comment, 9, one.labels)
    deleted = merge(one, [half_of(comment(KEY, 1, 5, LINKED, state=1))])
    relabelled = Register(3, one.comment, 4, ("c",))
    prints = [register.fingerprint(1, each) for each in (one, newer, deleted, relabelled)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3
    assert register.fingerprint(2, one) != prints[0]
    assert all(0 < each < 2**128 for each in prints)


def test_the_digest_leaves_out_what_has_no_row() -> None:
    gone = merge(EMPTY_REGISTER, [half_of(comment(KEY, 1, 5, state=2)), half_of(insight(KEY, 1, 4, ("b",)))])
    alone = merge(EMPTY_REGISTER, [half_of(insight(KEY, 1, 4, ("b",)))])
    assert [register.fingerprint(1, each) for each in (gone, alone, EMPTY_REGISTER)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("state", "has_row", "counts"),
    [(None, False, False), (LIVE, True, True), (DELETED, True, False), (GONE, False, False)],
)
def test_a_deleted_comment_has_a_row_that_does_not_count(state: int | None, has_row: bool, counts: bool) -> None:
    half = None if state is None else CommentHalf(state, 0, 1)
    one = Register(comment=half, labels=("tag",))
    assert (register.has_row(one), register.counts(one)) == (has_row, counts)

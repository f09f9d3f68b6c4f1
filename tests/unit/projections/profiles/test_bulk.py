"""The one-pass fold is the fold: same rows, same heads."""

import tracemalloc
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.comments.body import BodyContent
from projections.comments.groups import Groups
from projections.comments.register import EMPTY_REGISTER, LIVE, CommentHalf, Register, half_of, merge
from projections.comments.rows import AnalysisRow, CommentRow, events
from projections.profile_key import ProfileKey
from projections.profiles.bulk import Census, Tally
from projections.profiles.fold import aggregate
from projections.profiles.head import Head
from projections.profiles.ranking import CANDIDATES, KEPT

START = datetime(2024, 6, 1, 9)  # noqa: DTZ001 - WhiteBalloon stores UTC without a zone
GROUPS = Groups.from_rows(
    [
        (1, "signal_import_group:elm", "Elm"),
        (1, "signal_import_group:oak", "Oak"),
        (2, "signal_import_group:elm", "Elm"),
        (3, "signal_import_group:twin", "Elm"),
        (3, "signal_import_group:elm", "Elm"),
    ],
    [(10, "[Signal] Elm"), (11, "[Signal] Elm"), (12, "[Signal] Oak"), (13, "another")],
)

BODIES = st.lists(
    st.sampled_from(
        [
            "hello",
            "https://a.org and https://b.org",
            *[f"https://{name}.org/{name}" for name in "abcdefghijklmnopqrstu"],
            "> https://quoted.org",
            "(Reactions: Ann 👍, Bob 👍, Cid ❤️)",
            "[attachments: a.png, b.pdf, c]",
        ]
    ),
    max_size=4,
).map("\n".join)
TIMES = st.integers(0, 6).map(lambda number: str(START + timedelta(seconds=number, microseconds=number % 2 * 5)))
ODD_TIMES = st.sampled_from(
    ["2024-06-01T09:00:00+02:00", "yesterday", "", None, 7, "2024-06-01", "9999-12-31T23:59-14"]
)
COLUMN = st.sampled_from(
    [None, "", "[]", '["housing", "food"]', "food, tools", "[broken", '["a","b","c","d","e","f","g"]', " food ", "{}"]
)


@st.composite
def rows(draw: st.DrawFn) -> tuple[list[CommentRow], dict[int, AnalysisRow]]:
    """Rows of three users, ordered by user as `comments_of_users` gives them."""
    drawn = draw(
        st.lists(
            st.tuples(
                st.integers(1, 4),
                st.sampled_from([10, 11, 12, 13]),
                st.one_of(BODIES, st.sampled_from([None, b"blob"])),
                st.one_of(TIMES, TIMES, TIMES, ODD_TIMES),
                st.one_of(st.none(), st.none(), st.none(), TIMES, ODD_TIMES),
                st.one_of(st.none(), st.tuples(COLUMN, COLUMN, COLUMN)),
            ),
            max_size=40,
        )
    )
    drawn.sort(key=lambda one: one[0])
    comments: list[Any] = [CommentRow(number, *one[:5]) for number, one in enumerate(drawn)]
    columns: dict[int, Any] = {number: one[5] for number, one in enumerate(drawn) if one[5] is not None}
    analyses = {number: AnalysisRow._make((number, *three, None)) for number, three in columns.items()}
    return comments, analyses


def ordinary(comments: list[CommentRow], analyses: dict[int, AnalysisRow]) -> tuple[dict[ProfileKey, Any], list[str]]:
    """The registers of each profile by way of events, and the warnings."""
    warnings: list[str] = []
    registers: dict[ProfileKey, dict[int, Register]] = defaultdict(dict)
    for event in events(comments, analyses, GROUPS, 0, lambda error: warnings.append(str(error))):
        mine = registers[ProfileKey(event.user_id, event.group_slug)]
        mine[event.comment_id] = merge(mine.get(event.comment_id, EMPTY_REGISTER), [half_of(event)])
    return registers, warnings


def comparable(head: Head) -> Head:
    return msgspec.structs.replace(head, digest=bytes(16), cause=("", 0))


@given(rows(), st.integers(1, 12))
def test_the_heads_are_those_of_the_fold_whatever_the_pages(
    given_rows: tuple[list[CommentRow], dict[int, AnalysisRow]], size: int
) -> None:
    comments, analyses = given_rows
    registers, warnings = ordinary(comments, analyses)
    heads = {key: aggregate(mine).head for key, mine in registers.items()}
    messages: list[str] = []
    census = Census(GROUPS, lambda error: messages.append(str(error)))

    found = [
        pair
        for start in range(0, len(comments), size)
        for pair in census.page(comments[start : start + size], analyses)
    ]
    found += census.rest()

    assert found == sorted(found, key=lambda pair: pair[0])
    assert dict(found) == {key: comparable(head) for key, head in heads.items() if head.count}
    assert messages == warnings


@given(st.permutations(range(40)), st.integers(1, KEPT + 2) | st.just(40))
def test_the_order_of_comments_does_not_matter_and_a_label_past_the_leaders_gives_the_bar(
    order: list[int], size: int
) -> None:
    every = [(number, number // 3, number % 2, number % 23, number % 4, number % 19) for number in range(40)]
    tally = Tally()
    registers = {}
    for comment_id, created_at, request_id, link, position, tag in (every[index] for index in order[:size]):
        message = BodyContent(((f"https://{link}.org/", position, 1),), (("👍", position + 1),), (("image", 2),))
        labels = (f"tag {tag}", "every")
        half = CommentHalf(LIVE, created_at, request_id, *message)
        tally.add(comment_id, half, labels)
        registers[comment_id] = Register(0, half, 0, labels)
    expected = aggregate(registers).head

    assert (expected.links.cutoff is not None) == (size == 40)
    assert tally.head() == comparable(expected)


@pytest.mark.parametrize("labels", [0, 1, CANDIDATES, CANDIDATES + 1])
def test_there_is_a_cutoff_where_labels_are_left_out(labels: int) -> None:
    half = CommentHalf(LIVE, 5, 1, tuple((f"https://{number}.org/", number, 1) for number in range(labels)))
    tally = Tally()
    tally.add(1, half, ())
    expected = aggregate({1: Register(0, half)}).head
    assert tally.head() == comparable(expected)
    assert (expected.links.cutoff is None) == (labels <= CANDIDATES)


def test_a_long_history_keeps_its_first_and_last_comments() -> None:
    tally = Tally()
    for number in range(5000):
        tally.add(number, CommentHalf(LIVE, (number * 7919) % 5000, 1), ())
    head = tally.head()
    assert head is not None
    assert head.count == 5000
    assert [created_at for created_at, _, _ in head.first.kept] == list(range(KEPT))
    assert [-created_at for created_at, _, _ in head.last.kept] == [4999 - back for back in range(KEPT)]
    assert not head.first.complete


def test_a_long_history_takes_no_more_memory_than_a_short_one() -> None:
    def taken(comments: int) -> int:
        tally = Tally()
        tracemalloc.start()
        for number in range(comments):
            tally.add(number, CommentHalf(LIVE, number, 1), ())
        current, _peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return current

    assert taken(10_000) < 2 * taken(1_000)

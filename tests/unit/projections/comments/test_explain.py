"""Explained comments add up to the very number; what does not count says why."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from projections.comments import links
from projections.comments.explain import Counted, ExplainedComment, Question, explain
from projections.comments.groups import Groups
from projections.comments.rows import AnalysisRow, CommentRow
from projections.profile_key import ProfileKey
from projections.profiles.bulk import Census
from projections.profiles.head import Head
from support.whiteballoon import START

Rows = dict[str, dict[str, Any]]

ELM = ProfileKey(7, "elm")
GROUPS = Groups.from_rows(
    [
        (7, "signal_import_group:elm", "Elm"),
        (7, "signal_import_group:oak", "Oak"),
        (7, "signal_import_group:yew", "Oak"),
    ],
    [(1, "[Signal] Elm"), (2, "[Signal] Oak"), (3, "Garden")],
)
A = "https://a.org/"


def row(comment_id: int, body: str, *, request: int = 1, deleted: str | None = None) -> CommentRow:
    return CommentRow(comment_id, 7, request, body, str(START), deleted)


def analysis(comment_id: int, tags: str | None, resource_tags: str | None = None) -> AnalysisRow:
    return AnalysisRow(comment_id, resource_tags, None, tags, None)


def asked(
    kind: Counted, value: str, rows: Sequence[CommentRow], *analyses: AnalysisRow, groups: Groups = GROUPS
) -> dict[int, tuple[int, tuple[str, ...]]]:
    known = {one.comment_id: one for one in analyses}
    found = explain(rows, known, groups, ELM, Question(kind, value))
    return {one.row.comment_id: (one.times, one.reasons) for one in found}


@pytest.mark.parametrize(
    ("body", "times", "reasons"),
    [
        (f"{A} and HTTPS://A.org?utm_source=x", 2, ()),
        (f"{A}\n> {A}\n>> {A}", 1, ("quoted (2 times)",)),
        (f"> {A}", 0, ("quoted",)),
        (f"(Reactions: Ann {A})", 0, ("in a line of reactions or attachments",)),
        ("http://www.a.org", 0, ("counts as another link: http://www.a.org/",)),
        ("look at a.org", 0, ("the text names it without http:// or https://",)),
        ("a.orghttps://b.org", 0, ("the text names it without http:// or https://",)),
        ("https://b.org/a.organic", None, None),
    ],
)
def test_links(body: str, times: int | None, reasons: tuple[str, ...] | None) -> None:
    expected = {} if times is None else {1: (times, reasons)}
    assert asked(Counted.LINK, links.canonical(A), [row(1, body)]) == expected


def test_what_is_no_link_is_looked_for_as_it_stands() -> None:
    named = "the text names it without http:// or https://"
    assert asked(Counted.LINK, "www.A.org", [row(1, "see WWW.a.org"), row(2, "see a.org")]) == {1: (0, (named,))}


@pytest.mark.parametrize(
    ("tags", "resource_tags", "times", "reasons"),
    [
        ("food, Food", None, 1, ("counts as another tag: Food",)),
        ("food", '["food"]', 1, ("named 2 times by the analysis: a tag counts once a comment",)),
        ('["food"', None, 0, ("tags is no list of labels: '[\"food\"'",)),
        ("seafood", None, None, None),
    ],
)
def test_tags(tags: str, resource_tags: str | None, times: int | None, reasons: tuple[str, ...] | None) -> None:
    expected = {} if times is None else {1: (times, reasons)}
    assert asked(Counted.TAG, "food", [row(1, "")], analysis(1, tags, resource_tags)) == expected


def test_tags_of_a_comment_that_does_not_count() -> None:
    """What keeps the comment out is a reason only where its analysis names this very tag."""
    rows = [row(number, "", deleted="2024-06-02 10:00:00") for number in (1, 2, 3)]
    assert asked(Counted.TAG, "food", [*rows, row(4, "food")], analysis(1, "food"), analysis(2, "Food")) == {
        1: (0, ("deleted 2024-06-02 10:00:00",))
    }


def test_reactions_and_attachments() -> None:
    rows = [
        row(1, "(Reactions: Ann ❤️, Ben ❤)"),
        row(2, "I ❤ it"),
        row(3, "> (Reactions: Ann ❤)"),
        row(4, "see [attachments: a.png]"),
        row(5, "[attachments: a.png, b.pdf]\n> [attachments: c.png]"),
    ]
    text = "in the text, not as an entry's last word on a line `(Reactions: ...)` of its own"
    assert asked(Counted.REACTION, "❤", rows) == {
        1: (1, ("counts as another reaction: ❤️",)),
        2: (0, (text,)),
        3: (0, ("quoted",)),
    }
    assert asked(Counted.ATTACHMENT, "image", rows) == {
        4: (0, ("`[attachments: ...]` does not stand on a line of its own",)),
        5: (1, ("quoted",)),
    }


def test_what_keeps_a_whole_comment_out() -> None:
    rows = [
        row(1, A),
        row(2, A, request=2),
        row(3, A, request=3),
        row(4, A, deleted="2024-06-02 10:00:00.250000"),
        row(5, "nothing", deleted="2024-06-02 10:00:00"),
        CommentRow(6, 7, 1, A, "yesterday", None),
    ]
    found = asked(Counted.LINK, A, rows)
    assert {number: times for number, (times, _) in found.items()} == {1: 1, 2: 0, 3: 0, 4: 0, 6: 0}
    assert found[2][1] == ("request 2 is of another group: oak, yew",)
    assert found[3][1] == ("request 3 is of no group of the user's",)
    assert found[4][1] == ("deleted 2024-06-02 10:00:00",)
    assert "created_at is 'yesterday'" in found[6][1][0]
    assert asked(Counted.COUNT, "", rows) == {**found, 5: (0, ("deleted 2024-06-02 10:00:00",))}
    blocked = asked(Counted.LINK, A, rows[:1], groups=GROUPS.without(frozenset({7})))
    assert blocked == {1: (0, ("the user was forgotten and is blocked",))}


def test_the_oracle_s_numbers_are_those_of_the_comments_that_are_named(oracle_rows: Rows) -> None:
    """Every profile, and every fifth of what its head lists."""
    groups, rows, analyses = tables(oracle_rows)
    by_user: dict[int, list[CommentRow]] = {}
    for one in rows:
        by_user.setdefault(one.user_id, []).append(one)
    asked_for = 0
    for key, head in heads(groups, rows, analyses):
        for question, number in [(Question(Counted.COUNT), head.count), *numbers(head, key.user_id % 5)]:
            found = list(explain(by_user[key.user_id], analyses, groups, key, question))
            assert sum(one.times for one in found) == number, (key, question)
            assert all(one.times or one.reasons for one in found)
            asked_for += 1
    assert asked_for > 3_000


def numbers(head: Head, first: int) -> Iterator[tuple[Question, int]]:
    listed = [
        *((Question(Counted.LINK, url), -count) for count, _, _, _, url in head.links.leaders),
        *((Question(Counted.TAG, label), -count) for count, _, _, _, label in head.tags.leaders),
        *((Question(Counted.REACTION, word), count) for word, count in head.reactions.items()),
        *((Question(Counted.ATTACHMENT, kind), count) for kind, count in head.attachments.items()),
    ]
    yield from listed[first::5]


def heads(
    groups: Groups, rows: list[CommentRow], analyses: dict[int, AnalysisRow]
) -> Iterator[tuple[ProfileKey, Head]]:
    census = Census(groups, lambda _: None)
    yield from census.page(sorted(rows, key=lambda one: (one.user_id, one.comment_id)), analyses)
    yield from census.rest()


def tables(oracle_rows: Rows) -> tuple[Groups, list[CommentRow], dict[int, AnalysisRow]]:
    def column(table: str, *names: str) -> Iterator[tuple[Any, ...]]:
        places = [oracle_rows[table]["columns"].index(name) for name in names]
        return (tuple(one[place] for place in places) for one in oracle_rows[table]["rows"])

    groups = Groups.from_rows(
        column("user_attributes", "user_id", "key", "value"),
        column("help_requests", "id", "title"),
    )
    fields = ("id", "user_id", "help_request_id", "body", "created_at", "deleted_at")
    columns = ("comment_id", "resource_tags", "request_tags", "tags", "recorded_at")
    analyses = map(AnalysisRow._make, column("comment_llm_analyses", *columns))
    rows = list(map(CommentRow._make, column("request_comments", *fields)))
    return groups, rows, {one.comment_id: one for one in analyses}


def test_evidence_of_one_comment() -> None:
    found = list(explain([row(1, A)], {}, GROUPS, ELM, Question(Counted.LINK, A)))
    assert found == [ExplainedComment(row(1, A), 1, ())]

from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from projections.comments.events import CommentCreated, InsightCreated
from projections.comments.groups import Groups
from projections.comments.rows import AnalysisRow, CommentRow, InvalidRowError, events, insight, is_valid

GROUPS = Groups({7: {"elm": "Elm St", "zoo": "Elm St"}, 8: {"elm": "Elm St"}}, {"Elm St": frozenset({1})})
ROW = CommentRow(5, 8, 1, "hello", "2024-06-01 09:00:00.250000", None)
ANALYSIS = AnalysisRow(5, '["ladder"]', "", "a, b", "2024-06-02T08:00:00")


def test_a_comment_and_its_analysis() -> None:
    comment, analysed = events([ROW], {5: ANALYSIS}, GROUPS, 99)
    assert comment == CommentCreated(
        comment_id=5,
        user_id=8,
        group_slug="elm",
        help_request_id=1,
        body="hello",
        created_at=datetime(2024, 6, 1, 9, 0, 0, 250000),  # noqa: DTZ001 - WhiteBalloon's times are UTC without a zone
        revision=99,
    )
    assert analysed == InsightCreated(
        comment_id=5,
        user_id=8,
        group_slug="elm",
        resource_tags=("ladder",),
        tags=("a", "b"),
        recorded_at=datetime(2024, 6, 2, 8),  # noqa: DTZ001 - the same
        revision=99,
    )


def test_an_analysis_that_was_deleted_is_an_event_without_labels() -> None:
    assert insight(ROW, "elm", None, 9) == InsightCreated(comment_id=5, user_id=8, group_slug="elm", revision=9)


def test_a_comment_in_two_groups_is_an_event_in_each() -> None:
    found = events([ROW._replace(user_id=7)], {5: ANALYSIS}, GROUPS, 1)
    assert [(type(event), event.group_slug) for event in found] == [
        (CommentCreated, "elm"),
        (CommentCreated, "zoo"),
        (InsightCreated, "elm"),
        (InsightCreated, "zoo"),
    ]


def test_a_deleted_comment_is_an_event_too() -> None:
    deleted, _ = events([ROW._replace(deleted_at="2024-06-03 10:00:00.000000")], {5: ANALYSIS}, GROUPS, 1)
    assert isinstance(deleted, CommentCreated)
    assert deleted.deleted_at == datetime(2024, 6, 3, 10)  # noqa: DTZ001 - UTC without a zone


def test_a_comment_that_counts_nowhere_is_no_event_whatever_is_in_it() -> None:
    assert not list(events([ROW._replace(user_id=9, created_at="nonsense")], {5: ANALYSIS}, GROUPS, 1))
    assert not list(events([ROW._replace(help_request_id=2)], {5: ANALYSIS}, GROUPS, 1))


def test_a_time_with_a_zone_is_read_as_utc() -> None:
    (comment,) = events([ROW._replace(created_at="2024-06-01 11:00:00+02")], {}, GROUPS, 1)
    assert isinstance(comment, CommentCreated)
    assert comment.created_at == datetime(2024, 6, 1, 9)  # noqa: DTZ001 - UTC without a zone


BAD: list[dict[str, Any]] = [
    {"created_at": None},
    {"created_at": ""},
    {"created_at": "infinity"},
    {"created_at": 1717232400},
    {"created_at": "0001-01-01 00:00:00+14"},
    {"deleted_at": "yes"},
    {"body": None},
    {"body": b"hello"},
]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_a_row_that_cannot_be_understood_is_reported_and_the_others_are_read(bad: dict[str, Any]) -> None:
    reported: list[InvalidRowError] = []
    rows = [ROW._replace(**bad), ROW._replace(comment_id=6)]
    assert [is_valid(row) for row in rows] == [False, True]
    found = list(events(rows, {5: ANALYSIS}, GROUPS, 1, reported.append))
    assert [event.comment_id for event in found] == [6]
    assert [error.row for error in reported] == [rows[0]]
    assert "comment 5 of user 8" in str(reported[0])
    ((column, value),) = bad.items()
    assert f"request_comments.{column} is {value!r};" in str(reported[0])


def test_a_row_that_cannot_be_understood_is_an_error_where_nobody_takes_reports() -> None:
    with pytest.raises(InvalidRowError, match="created_at is 'soon'"):
        list(events([ROW._replace(created_at="soon")], {}, GROUPS, 1))


def test_an_analysis_with_an_odd_time_keeps_its_labels() -> None:
    _, analysed = events([ROW], {5: ANALYSIS._replace(recorded_at="soon")}, GROUPS, 1)
    assert isinstance(analysed, InsightCreated)
    assert (analysed.recorded_at, analysed.tags) == (None, ("a", "b"))


def test_the_oracle_s_rows_give_its_profiles_and_no_others(
    oracle_rows: dict[str, dict[str, Any]], oracle_expected: list[dict[str, Any]]
) -> None:
    def read(table: str, *columns: str) -> list[tuple[Any, ...]]:
        places = [oracle_rows[table]["columns"].index(column) for column in columns]
        return [tuple(row[place] for place in places) for row in oracle_rows[table]["rows"]]

    groups = Groups.from_rows(
        read("user_attributes", "user_id", "key", "value"),
        read("help_requests", "id", "title"),
    )
    columns = ("id", "user_id", "help_request_id", "body", "created_at", "deleted_at")
    comments = [CommentRow(*row) for row in read("request_comments", *columns)]
    counted: Counter[tuple[int, str]] = Counter()
    requests: dict[tuple[int, str], set[int]] = {}
    for event in events(comments, {}, groups, 1):
        assert isinstance(event, CommentCreated)
        if event.deleted_at is None:
            counted[event.user_id, event.group_slug] += 1
            requests.setdefault((event.user_id, event.group_slug), set()).add(event.help_request_id)
    expected = {(entry["user_id"], entry["group_slug"]): entry["snapshot"] for entry in oracle_expected}
    assert counted == {key: snapshot["message_count"] for key, snapshot in expected.items()}
    assert {key: sorted(ids) for key, ids in requests.items()} == {
        key: snapshot["request_ids"] for key, snapshot in expected.items()
    }
    assert 7 not in set().union(*groups.requests.values())

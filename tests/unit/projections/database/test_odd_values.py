"""A value that no column of its kind should hold: that row alone counts nowhere, however it would be reached."""

# ruff: noqa: S608 - the statements are this file's own; no parameter has all of SQLite's literals

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from projections.comments.rows import events
from projections.database.database import Database, analyses_of
from projections.profile_key import HIGHEST_ID
from snapshot.direct import build_snapshots, direct_snapshots, open_session
from support.whiteballoon import WhiteBalloon, file_of, opener

ODD_IDS = ["'seven'", "x'0102'", "1.5", "1e30", "0", "-4", "NULL", "99999999999999999999"]
TABLES = ("user_attributes", "help_requests", "request_comments", "comment_llm_runs", "comment_llm_analyses")


@pytest.fixture
def wb(tmp_path: Path) -> WhiteBalloon:
    """Its tables are as WhiteBalloon makes them, but without types and keys: any value fits in anywhere."""
    made = WhiteBalloon.in_folder(tmp_path / "wb")
    for path in (file_of(made.main_url), file_of(made.insights_url)):
        with closing(sqlite3.connect(path)) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in set(tables) & set(TABLES):
                columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
                connection.execute(f"DROP TABLE {table}")
                connection.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
            connection.commit()
    return made


@pytest.fixture
def database(wb: WhiteBalloon) -> Iterator[Database]:
    run(wb, "INSERT INTO user_attributes (user_id, key, value) VALUES (7, 'signal_import_group:elm', 'Elm')")
    run(wb, "INSERT INTO help_requests (id, title) VALUES (1, '[Signal] Elm')")
    comment(wb, "3", "7", "1")
    analysis(wb, "3", tags="'kept'")
    with opener(wb) as open_them:
        yield open_them()


def run(wb: WhiteBalloon, statement: str) -> None:
    with closing(sqlite3.connect(file_of(wb.main_url if "comment_llm" not in statement else wb.insights_url))) as there:
        there.execute(statement)
        there.commit()


def comment(wb: WhiteBalloon, comment_id: str, user_id: str, request_id: str, deleted_at: str = "NULL") -> None:
    values = f"{comment_id}, {user_id}, {request_id}, 'https://a.org', '2024-06-01 09:00:00', {deleted_at}"
    columns = "id, user_id, help_request_id, body, created_at, deleted_at"
    run(wb, f"INSERT INTO request_comments ({columns}) VALUES ({values})")


def analysis(wb: WhiteBalloon, comment_id: str, run_id: str = "'run'", **columns: str) -> None:
    given = {"resource_tags": "NULL", "request_tags": "NULL", "tags": "NULL", "recorded_at": "'2024-06-01'", **columns}
    names, values = ", ".join(given), ", ".join(given.values())
    run(wb, f"INSERT INTO comment_llm_analyses (comment_id, run_id, {names}) VALUES ({comment_id}, {run_id}, {values})")


def every_way(wb: WhiteBalloon, database: Database) -> list[tuple[int, int, int, tuple[str, ...]]]:
    """The comments with their tags, which every way of reading must give alike."""
    groups = database.groups()
    rows = database.comments_after(0)
    ways = [
        rows,
        database.comments_of_users(0, HIGHEST_ID),
        database.comments_by_ids([-4, 0, *range(10)]),
        [row for user in database.users_after(0) for row in database.comments_of_users(user, user)],
    ]
    assert all(sorted(way) == rows for way in ways)
    analyses = [analyses_of(database, rows), {one.comment_id: one for one in database.analyses_after(0)}]
    assert analyses[0] == analyses[1] == database.analyses_by_ids([-4, 0, *range(10)])
    assert database.heads() in [(comment, analysis) for comment in (3, 5) for analysis in (3, 5)]
    assert all(row.deleted_at for row in database.latest_deleted(100))
    assert set(database.latest_analyses(100)) == set(analyses[0].values())
    assert sum(len(database.analyses_of_run(name)) for name in database.runs()) <= len(analyses[0])
    list(events(rows, analyses[0], groups, 0))
    (snapshot,) = direct_snapshots(database, groups, 0, HIGHEST_ID)
    with open_session(wb.main, wb.insights) as session:
        assert build_snapshots(7, session) == [snapshot]
    assert snapshot.message_count == len([row for row in rows if groups.slugs(row.user_id, row.help_request_id)])
    tags = tuple(tag.label for tag in snapshot.top_tags)
    return [(row.comment_id, row.user_id, row.help_request_id, tags) for row in rows]


KEPT = [(3, 7, 1, ("kept",))]


@pytest.mark.parametrize("value", ODD_IDS)
@pytest.mark.parametrize("column", ["comment", "user", "request"])
def test_a_comment_with_an_odd_id(wb: WhiteBalloon, database: Database, column: str, value: str) -> None:
    ids = {"comment": "5", "user": "7", "request": "1", column: value}
    comment(wb, ids["comment"], ids["user"], ids["request"], deleted_at="'2024-07-01'")
    assert every_way(wb, database) == KEPT


@pytest.mark.parametrize("value", ODD_IDS)
def test_an_analysis_with_an_odd_id(wb: WhiteBalloon, database: Database, value: str) -> None:
    analysis(wb, value, tags="'odd'")
    assert every_way(wb, database) == KEPT


@pytest.mark.parametrize("value", ["x'ff00'", "x'5b2261225d'", "7", "1.5"])
@pytest.mark.parametrize("column", ["resource_tags", "request_tags", "tags", "recorded_at"])
def test_an_analysis_with_a_column_that_is_no_text(
    wb: WhiteBalloon, database: Database, column: str, value: str
) -> None:
    comment(wb, "5", "7", "1")
    analysis(wb, "5", **{"tags": "'odd'", column: value})
    assert every_way(wb, database) == [*KEPT, (5, 7, 1, ("kept",))]


@pytest.mark.parametrize("value", ["x'ff'", "7", "NULL", "1.5"])
def test_a_run_with_an_odd_id_or_any_other_odd_column(wb: WhiteBalloon, database: Database, value: str) -> None:
    run(wb, f"INSERT INTO comment_llm_runs (run_id, model) VALUES ({value}, 'odd'), ('run', {value})")
    assert every_way(wb, database) == KEPT
    assert list(database.runs()) == ["run"]


@pytest.mark.parametrize("value", ODD_IDS)
def test_a_membership_or_a_request_with_an_odd_id(wb: WhiteBalloon, database: Database, value: str) -> None:
    run(wb, f"INSERT INTO user_attributes (user_id, key, value) VALUES ({value}, 'signal_import_group:elm', 'Elm')")
    run(wb, f"INSERT INTO help_requests (id, title) VALUES ({value}, '[Signal] Elm')")
    assert every_way(wb, database) == KEPT
    groups = database.groups()
    assert list(groups.members) == [7]
    assert list(groups.requests.values()) == [frozenset({1})]


@pytest.mark.parametrize("row", ["x'ff', 'Elm'", "'signal_import_group:oak', x'456c6d'", "1, 2"])
def test_a_membership_that_is_no_text(wb: WhiteBalloon, database: Database, row: str) -> None:
    run(wb, f"INSERT INTO user_attributes (user_id, key, value) VALUES (7, {row})")
    run(wb, "INSERT INTO help_requests (id, title) VALUES (2, x'5b5369676e616c5d20456c6d'), (3, 7), (4, NULL)")
    assert every_way(wb, database) == KEPT
    assert database.groups().members == {7: {"elm": "Elm"}}


@pytest.mark.parametrize("value", ["x'ff'", "20240601", "1e30"])
def test_a_deletion_at_no_time_hides_none_that_was_deleted_later(
    wb: WhiteBalloon, database: Database, value: str
) -> None:
    comment(wb, "5", "7", "2", deleted_at="'2024-07-01'")
    comment(wb, "6", "7", "2", deleted_at=value)
    assert [row.comment_id for row in database.latest_deleted(1)] == [5]


@pytest.mark.parametrize("user_id", [0, -1, 2**63, 10**30])
def test_a_user_whom_nobody_can_be_has_no_snapshot(wb: WhiteBalloon, database: Database, user_id: int) -> None:
    assert database.groups()
    with open_session(wb.main, wb.insights) as session:
        assert build_snapshots(user_id, session) == []

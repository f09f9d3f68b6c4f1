import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select
from sqlalchemy.dialects import sqlite

from projections.database import queries
from projections.database.database import Database, open_databases
from projections.profile_key import HIGHEST_ID
from support.whiteballoon import WhiteBalloon, execute, file_of, opener

Open = Callable[..., Database]


@pytest.fixture
def wb(tmp_path: Path) -> WhiteBalloon:
    return WhiteBalloon.in_folder(tmp_path / "wb")


@pytest.fixture
def opened(wb: WhiteBalloon) -> Iterator[Open]:
    with opener(wb) as open_them:
        yield open_them


@pytest.fixture
def history(wb: WhiteBalloon) -> list[tuple[int, int]]:
    """(user id, comment id) of 60 comments of 7 users, one of whom wrote half of them, out of order."""
    request, users = wb.add_group("elm", "Elm St", members=7)
    return [
        (user, wb.comment(user, request)) for number in range(60) for user in [users[3 if number % 2 else number % 7]]
    ]


@pytest.mark.parametrize("limit", [1, 2, 7, 59, 60, 61])
def test_comments_of_users_in_pages(opened: Open, history: list[tuple[int, int]], limit: int) -> None:
    database = opened()
    found: list[tuple[int, int]] = []
    while page := database.comments_of_users(2, 6, found[-1] if found else None, limit):
        assert len(page) <= limit
        found += [(row.user_id, row.comment_id) for row in page]
    assert found == sorted(pair for pair in history if 2 <= pair[0] <= 6)


def test_comments_after_in_pages(opened: Open, history: list[tuple[int, int]]) -> None:
    database = opened()
    found: list[int] = []
    while page := database.comments_after(found[-1] if found else 0, 7):
        found += [row.comment_id for row in page]
    assert found == [comment for _, comment in history]


def test_a_comment_s_row_is_as_stored(wb: WhiteBalloon, opened: Open) -> None:
    request, (user,) = wb.add_group("elm", "Elm St")
    comment = wb.comment(user, request, "héllo 👍")
    wb.soft_delete(comment)
    (row,) = opened().comments_by_ids([comment, 99])
    assert row == (comment, user, request, "héllo 👍", "2024-06-01 09:00:01.000000", "2024-06-01 09:00:02.000000")


def test_any_number_of_ids_can_be_asked_for(opened: Open, history: list[tuple[int, int]]) -> None:
    ids = range(40_000)  # SQLite takes 32,766 parameters at most
    assert len(opened().comments_by_ids(ids)) == len(history)
    assert opened().analyses_by_ids(ids) == {}


def test_analyses(wb: WhiteBalloon, opened: Open) -> None:
    database = opened()
    for comment in (3, 5, 8):
        wb.analyse(comment, resource_tags=["ladder"], request_tags="", tags="a, b", run_id=f"run-{comment % 2}")
    assert database.analyses_by_ids([5, 6]) == {5: (5, '["ladder"]', "", "a, b", "2024-06-02T08:00:00")}
    assert [row.comment_id for row in database.analyses_after(3, 1)] == [5]
    assert [row.comment_id for row in database.analyses_between(3, 5)] == [3, 5]
    assert [row.comment_id for row in database.analyses_of_run("run-1")] == [3, 5]
    assert [row.comment_id for row in database.analyses_of_run("run-1", 3, 9)] == [5]
    before = database.runs()
    wb.analyse(9, run_id="run-1")
    after = database.runs()
    assert {run for run in after if after[run] != before[run]} == {"run-1"}


def test_heads(wb: WhiteBalloon, opened: Open, history: list[tuple[int, int]]) -> None:
    assert opened().heads() == (60, 0)
    wb.analyse(99)
    wb.hard_delete(history[-1][1])
    assert opened().heads() == (59, 99)


def test_groups(wb: WhiteBalloon, opened: Open) -> None:
    request, (user,) = wb.add_group("elm", " Elm St ")
    wb.rename_request(request, "[Signal] Elm St")
    wb.set_attribute(user, "SIGNAL_IMPORT_GROUP:zoo", "Elm St")
    wb.set_attribute(user, "signal-import-group:zoo", "Elm St")
    wb.add_request("[signal] Elm St")
    assert opened().groups().members == {user: {"elm": "Elm St"}}
    assert opened().groups().requests == {"Elm St": {request}}
    wb.leave(user, "elm")
    assert opened().groups().members == {}


def test_groups_are_read_again_only_after_a_commit(wb: WhiteBalloon, opened: Open) -> None:
    database = opened()
    request, (user,) = wb.add_group("elm", "Elm St")
    before = database.groups()
    assert database.groups() is before
    wb.rename_request(request, "Elm St")
    assert database.groups().requests == {}
    wb.leave(user, "elm")
    assert database.groups().members == {}


def test_users_are_those_with_a_comment_or_a_membership(wb: WhiteBalloon, opened: Open) -> None:
    request, members = wb.add_group("elm", "Elm St", members=2)
    stranger, guest = wb.add_user(), wb.add_user()
    wb.comment(guest, request)
    wb.comment(members[0], request)
    database = opened()
    assert database.users_after(0) == [*members, guest]
    assert database.users_after(members[0], 1) == [members[1]]
    assert stranger not in database.users_after(0)


@pytest.mark.parametrize(("size", "number"), [(1, 7), (10, 5), (1000, 1)])
def test_ranges_hold_every_user_once(
    opened: Open, history: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, size: int, number: int
) -> None:
    monkeypatch.setattr("projections.database.database.USERS_PAGE", 2)
    ranges = opened().user_ranges(size)
    assert ranges[0][0] == 0
    assert ranges[-1][1] == HIGHEST_ID
    assert all(last + 1 == first for (_, last), (first, _) in pairwise(ranges))
    assert len(ranges) == number
    for first, last in ranges:
        users = [user for user, _ in history if first <= user <= last]
        assert len(users) <= size or len(set(users)) == 1


def test_an_empty_database_has_one_range(opened: Open) -> None:
    assert opened().user_ranges(10) == [(0, HIGHEST_ID)]


def test_the_clock_of_sqlite_is_the_one_given(opened: Open) -> None:
    assert opened(host_clock=lambda: 17).clock() == 17


def test_text_that_is_not_utf8_is_read_with_replacements(wb: WhiteBalloon, opened: Open) -> None:
    request, (user,) = wb.add_group("elm", "Elm St")
    wb.comment(user, request)
    execute(wb.main_url, "UPDATE request_comments SET body = CAST(X'68ff69' AS TEXT)")
    execute(wb.main_url, "UPDATE user_attributes SET value = CAST(X'68ff69' AS TEXT)")
    database = opened()
    assert [row.body for row in database.comments_after(0)] == ["h\ufffdi"]
    assert [row.body for row in database.comments_of_users(0, HIGHEST_ID)] == ["h\ufffdi"]
    assert database.groups().members == {user: {"elm": "h\ufffdi"}}


def test_odd_times_come_through_as_they_are(wb: WhiteBalloon, opened: Open) -> None:
    request, (user,) = wb.add_group("elm", "Elm St")
    wb.comment(user, request)
    wb.comment(user, request)
    execute(wb.main_url, "UPDATE request_comments SET created_at = 'soon', deleted_at = 5 WHERE id = 1")
    assert [row[4:] for row in opened().comments_after(0)] == [("soon", 5), ("2024-06-01 09:00:02.000000", None)]


def test_several_threads_may_read(opened: Open, history: list[tuple[int, int]]) -> None:
    database = opened()
    found: list[int] = []

    def read() -> None:
        database.change_token()
        found.append(len(database.comments_after(0)))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [len(history)] * 8


# ------------------------------------------------------------------------------------------------------- query plans


def plan(url: str, query: Select[Any], **parameters: int | str) -> str:
    compiled = query.compile(dialect=sqlite.dialect(paramstyle="named"))
    with closing(sqlite3.connect(file_of(url))) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {compiled}", compiled.params | parameters).fetchall()
    return "\n".join(row[3] for row in rows)


INDEXES = ("user_id", "help_request_id")


@pytest.mark.parametrize("statistics", ["", "ANALYZE"])
@pytest.mark.parametrize("order", [INDEXES, INDEXES[::-1]])
def test_a_user_s_comments_are_found_by_the_index_and_are_not_sorted(
    wb: WhiteBalloon, history: list[tuple[int, int]], order: tuple[str, ...], statistics: str
) -> None:
    assert history
    for column in order:
        name = f"ix_request_comments_{column}"
        execute(wb.main_url, f"DROP INDEX {name}", f"CREATE INDEX {name} ON request_comments ({column})")
    execute(wb.main_url, statistics)
    bounds = {"user": 1, "after": 5, "limit": 10, "first": 1, "last": 3}
    of_user = plan(wb.main_url, queries.COMMENTS_OF_USER, **bounds)
    of_users = plan(wb.main_url, queries.COMMENTS_OF_USERS, **bounds)
    assert of_user == "SEARCH request_comments USING INDEX ix_request_comments_user_id (user_id=? AND rowid>?)"
    assert of_users == "SEARCH request_comments USING INDEX ix_request_comments_user_id (user_id>? AND user_id<?)"
    counts = plan(wb.main_url, queries.COMMENTS_BY_USER, **bounds)
    assert "COVERING INDEX ix_request_comments_user_id" in counts
    assert "TEMP B-TREE" not in counts


def test_polling_queries_use_keys(wb: WhiteBalloon) -> None:
    bounds: dict[str, int | str] = {"after": 1, "limit": 1, "low": 1, "high": 2, "run": "r", "ids": "[1]"}
    after = plan(wb.main_url, queries.COMMENTS_AFTER, **bounds)
    assert after == "SEARCH request_comments USING INTEGER PRIMARY KEY (rowid>?)"
    assert "SEARCH" in plan(wb.main_url, queries.HIGHEST_COMMENT)
    by_ids = plan(wb.main_url, queries.comments_by_ids("sqlite"), **bounds)
    assert "SEARCH request_comments USING INTEGER PRIMARY KEY (rowid=?)" in by_ids
    of_run = plan(wb.insights_url, queries.ANALYSES_OF_RUN, **bounds)
    assert "idx_comment_llm_analyses_run_id (run_id=? AND rowid>?)" in of_run


def test_the_groups_of_one_user_are_those_among_all(wb: WhiteBalloon) -> None:
    elm, (ann, ben) = wb.add_group("elm", "Elm Street", members=2)
    wb.add_group("oak", "Oak Lane")
    wb.join(ann, "oak", "Oak Lane")

    class Blocked:
        def get(self) -> frozenset[int]:
            return frozenset({ben})

    with open_databases(wb.main_url, wb.insights_url, blocked=Blocked()) as database:
        everybody = database.groups()
        found = database.groups_of(ann)
        assert found.members == {ann: everybody.members[ann]} == {ann: {"elm": "Elm Street", "oak": "Oak Lane"}}
        assert found.slugs(ann, elm) == ("elm",)
        assert (found.requests, found.blocked) == (everybody.requests, everybody.blocked)
        assert database.groups_of(ben).members == database.groups_of(99).members == {}

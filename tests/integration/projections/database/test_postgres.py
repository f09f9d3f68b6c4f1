import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url, text

from projections.comments.rows import InvalidRowError, events
from projections.database.database import SqlDatabase, open_databases
from projections.errors import DatabaseUnavailableError, NotMadeYetError, OperatorError, UnreachableError
from projections.profile_key import HIGHEST_ID
from support.whiteballoon import WhiteBalloon


@pytest.fixture
def wb(postgres_url: str) -> WhiteBalloon:
    made = WhiteBalloon(postgres_url, postgres_url)
    made.create()
    return made


@pytest.fixture
def database(wb: WhiteBalloon) -> Iterator[SqlDatabase]:
    with open_databases(wb.main_url, wb.insights_url) as opened:
        yield opened


def plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(plain(url), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_rows_are_as_in_sqlite(wb: WhiteBalloon, database: SqlDatabase) -> None:
    request, (user,) = wb.add_group("elm", " Elm St ")
    wb.rename_request(request, "[Signal] Elm St")
    wb.set_attribute(user, "signal-import-group:zoo", "Elm St")
    comment = wb.comment(user, request, "héllo 👍")
    wb.soft_delete(comment)
    wb.analyse(comment, tags=["a"], run_id="r")
    row = (comment, user, request, "héllo 👍", "2024-06-01 09:00:01", "2024-06-01 09:00:02")
    assert database.comments_after(0) == database.comments_by_ids([comment, 99]) == [row]
    assert database.comments_of_users(0, HIGHEST_ID) == [row]
    analysis = (comment, None, None, '["a"]', "2024-06-02T08:00:00")
    assert database.analyses_by_ids(range(50_000)) == {comment: analysis}
    assert database.analyses_after(0) == database.analyses_between(0, 9) == database.analyses_of_run("r") == [analysis]
    assert database.heads() == (comment, comment)
    assert database.groups().members == {user: {"elm": "Elm St"}}
    assert database.groups().requests == {"Elm St": {request}}
    assert database.users_after(0) == [user]
    assert list(database.runs()) == ["r"]


def test_groups_are_read_again_after_a_commit_of_a_transaction_that_was_open(
    wb: WhiteBalloon, database: SqlDatabase
) -> None:
    _, (user,) = wb.add_group("elm", "Elm St")
    leaving = "DELETE FROM user_attributes WHERE key = 'signal_import_group:elm'"
    with psycopg.connect(plain(wb.main_url)) as first, psycopg.connect(plain(wb.main_url)) as second:
        first.execute(leaving)  # it has its number now
        second.execute("UPDATE help_requests SET title = title")
        before = database.groups()
        assert before.members == {user: {"elm": "Elm St"}}
        second.commit()
        assert database.groups() == before
        first.commit()
        assert database.groups().members == {}
        assert database.groups() is database.groups()


def test_the_oracle_s_rows_give_its_profiles_and_no_others(
    wb: WhiteBalloon,
    database: SqlDatabase,
    oracle_rows: dict[str, dict[str, Any]],
    oracle_expected: list[dict[str, Any]],
) -> None:
    wb.load(oracle_rows)
    groups = database.groups()
    counted: dict[tuple[int, str], int] = {}
    for first, last in database.user_ranges(1_000):
        after = None
        while rows := database.comments_of_users(first, last, after, 700):
            for event in events(rows, {}, groups, 1):
                if getattr(event, "deleted_at", None) is None:
                    key = event.user_id, event.group_slug
                    counted[key] = counted.get(key, 0) + 1
            after = rows[-1].user_id, rows[-1].comment_id
    expected = {(entry["user_id"], entry["group_slug"]): entry["snapshot"] for entry in oracle_expected}
    assert counted == {key: snapshot["message_count"] for key, snapshot in expected.items()}
    request, (user,) = wb.add_group("elm", "Elm St")
    assert wb.comment(user, request) == database.heads().comment_id


def test_times_that_are_none_do_not_end_a_page(wb: WhiteBalloon, database: SqlDatabase) -> None:
    request, (user,) = wb.add_group("elm", "Elm St")
    wb.comment(user, request)
    wb.comment(user, request)
    execute(wb.main_url, "UPDATE request_comments SET created_at = 'infinity' WHERE id = 1")
    reported: list[InvalidRowError] = []
    found = list(events(database.comments_after(0), {}, database.groups(), 1, reported.append))
    assert [event.comment_id for event in found] == [2]
    assert [error.row.created_at for error in reported] == ["infinity"]


def test_times_with_a_zone_are_read_as_utc(wb: WhiteBalloon) -> None:
    request, (user,) = wb.add_group("elm", "Elm St")
    wb.comment(user, request)
    execute(
        wb.main_url,
        "ALTER TABLE request_comments ALTER created_at TYPE timestamptz USING created_at AT TIME ZONE 'UTC'",
        f"ALTER DATABASE {make_url(wb.main_url).database} SET timezone = 'Asia/Kolkata'",
    )
    with open_databases(wb.main_url, wb.insights_url) as database:
        (event,) = events(database.comments_after(0), {}, database.groups(), 1)
    assert str(getattr(event, "created_at", None)) == "2024-06-01 09:00:01"


def test_dates_are_read_whatever_style_is_set_for_the_database(wb: WhiteBalloon) -> None:
    request, (user,) = wb.add_group("elm", "Elm St")
    wb.comment(user, request)
    for style in ("German", "SQL, DMY", "Postgres"):
        execute(wb.main_url, f"ALTER DATABASE {make_url(wb.main_url).database} SET datestyle = '{style}'")
        with open_databases(wb.main_url, wb.insights_url) as database:
            assert [row.created_at for row in database.comments_after(0)] == ["2024-06-01 09:00:01"]


def test_the_clock_is_the_server_s_and_goes_on(database: SqlDatabase) -> None:
    first, second = database.clock(), database.clock()
    assert first < second
    assert abs(first - time.time_ns() // 1000) < 60_000_000


def test_the_change_token_moves_with_each_commit_and_only_then(wb: WhiteBalloon, database: SqlDatabase) -> None:
    request, (user,) = wb.add_group("elm", "Elm St")
    writes: list[Callable[[], object]] = [
        partial(wb.comment, user, request),
        partial(wb.edit, 1, "edited"),
        partial(wb.soft_delete, 1),
        partial(wb.analyse, 1, tags=["a"]),
        partial(wb.remove_analysis, 1),
    ]
    for write in writes:
        before = database.change_token()
        database.comments_after(0)
        write()
        assert database.change_token() != before


def test_the_change_token_sees_the_end_of_a_long_transaction(wb: WhiteBalloon, database: SqlDatabase) -> None:
    with psycopg.connect(plain(wb.main_url)) as slow:
        slow.execute("INSERT INTO users (created_at) VALUES (now())")
        wb.add_user()
        before = database.change_token()
        slow.commit()
        assert database.change_token() != before


def test_two_databases_are_both_watched(wb: WhiteBalloon) -> None:
    with open_databases(wb.main_url, f"{wb.main_url}?application_name=insights") as database:
        before = database.change_token()
        wb.analyse(1)
        assert database.change_token() != before
        assert database.heads() == (0, 1)


def test_nothing_can_be_written_and_no_transaction_stays_open(wb: WhiteBalloon, database: SqlDatabase) -> None:
    reader = database._main  # noqa: SLF001 - no public way leads to a write
    with pytest.raises(DatabaseUnavailableError, match="read-only transaction"):
        reader.read(lambda connection: connection.exec_driver_sql("DELETE FROM users"))
    database.comments_after(0)
    with psycopg.connect(plain(wb.main_url)) as other:
        states = other.execute(
            "SELECT DISTINCT state FROM pg_stat_activity WHERE application_name = 'signal-identity-snapshotter' "
            "AND datname = current_database()"
        ).fetchall()
    assert states == [("idle",)]


def test_memberships_and_titles_are_read_as_of_one_moment(wb: WhiteBalloon, database: SqlDatabase) -> None:
    request, (user,) = wb.add_group("elm", "A")
    stop = threading.Event()

    def rename() -> None:
        with psycopg.connect(plain(wb.main_url)) as writer:
            for name in "BA" * 200:
                writer.execute("UPDATE user_attributes SET value = %s", [name])
                writer.execute("UPDATE help_requests SET title = %s", [f"[Signal] {name}"])
                writer.commit()
        stop.set()

    thread = threading.Thread(target=rename)
    thread.start()
    while not stop.is_set():
        assert database.groups().slugs(user, request) == ("elm",)
    thread.join()


def test_a_server_that_ended_the_connection_is_asked_again(wb: WhiteBalloon, database: SqlDatabase) -> None:
    assert database.heads() == (0, 0)
    execute(
        wb.main_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    assert database.heads() == (0, 0)


def test_a_connection_that_ends_in_a_query_is_said_to_pass(wb: WhiteBalloon, database: SqlDatabase) -> None:
    def cut_off(connection: Any) -> None:  # noqa: ANN401 - SQLAlchemy's connection
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        execute(wb.main_url, f"SELECT pg_terminate_backend({pid})")
        connection.exec_driver_sql("SELECT 1")

    with pytest.raises(DatabaseUnavailableError, match=r"DATABASE_URL .* cannot be reached"):
        database._main.read(cut_off)  # noqa: SLF001 - as each method does
    assert database.heads() == (0, 0)


def test_a_query_that_took_too_long_is_no_server_that_is_away(database: SqlDatabase) -> None:
    def slowly(connection: Any) -> None:  # noqa: ANN401 - SQLAlchemy's connection
        connection.exec_driver_sql("SET LOCAL statement_timeout = 1")
        connection.exec_driver_sql("SELECT pg_sleep(10)")

    with pytest.raises(DatabaseUnavailableError, match=r"stopped a query: .*; let .*statement_timeout"):
        database._main.read(slowly)  # noqa: SLF001 - as each method does
    assert database.heads() == (0, 0)


def test_a_database_that_does_not_exist(wb: WhiteBalloon) -> None:
    url = make_url(wb.main_url).set(database="nowhere").render_as_string(hide_password=False)
    with pytest.raises(OperatorError, match=r"DATABASE_URL .*nowhere.* does not exist.*correct"):
        open_databases(url, wb.insights_url)


def test_missing_tables_and_columns_are_named(postgres_url: str, wb: WhiteBalloon) -> None:
    execute(postgres_url, "DROP TABLE user_attributes", "ALTER TABLE request_comments RENAME body TO text")
    with pytest.raises(OperatorError, match=r"DATABASE_URL .* has no column request_comments\.body, table user_attrib"):
        open_databases(wb.main_url, wb.insights_url)


def test_a_server_without_any_of_the_tables_may_get_them_and_one_that_is_away_may_come(postgres_url: str) -> None:
    with pytest.raises(NotMadeYetError, match=r"DATABASE_URL .* has none of WhiteBalloon's tables; start WhiteBalloon"):
        open_databases(postgres_url, postgres_url)
    away = make_url(postgres_url).set(host="127.0.0.1", port=1).render_as_string(hide_password=False)
    with pytest.raises(UnreachableError, match=r"DATABASE_URL .* cannot be reached"):
        open_databases(away, away)


def test_a_table_that_vanishes_later_is_named(wb: WhiteBalloon, database: SqlDatabase) -> None:
    execute(wb.main_url, "DROP TABLE request_comments")
    with pytest.raises(OperatorError, match='relation "request_comments" does not exist'):
        database.comments_after(0)


def test_a_user_who_may_only_connect_learns_what_to_grant(wb: WhiteBalloon) -> None:
    execute(wb.main_url, "DROP ROLE IF EXISTS guest", "CREATE ROLE guest LOGIN PASSWORD 'secret'")
    try:
        guest = make_url(wb.main_url).set(username="guest", password="secret")  # noqa: S106 - of this test's own role
        url = guest.render_as_string(hide_password=False)
        with pytest.raises(OperatorError, match=r"permission denied for table .*GRANT SELECT") as caught:
            open_databases(url, url)
        assert "secret" not in str(caught.value)
        execute(wb.main_url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest")
        with open_databases(url, url) as database:
            assert database.groups().members == {}
            assert database.change_token()
    finally:
        execute(wb.main_url, "DROP OWNED BY guest", "DROP ROLE guest")


def test_the_role_of_the_documentation_is_enough(wb: WhiteBalloon) -> None:
    page = (Path(__file__).parents[4] / "docs/operations/security.md").read_text()
    statements = page.partition("```sql")[2].partition("```")[0].split(";")
    request, (user,) = wb.add_group("elm", "Elm St")
    comment_id = wb.comment(user, request)
    wb.analyse(comment_id)
    execute(wb.main_url, "DROP ROLE IF EXISTS snapshotter", *[one for one in statements if one.strip()])
    url = make_url(wb.main_url).set(username="snapshotter", password="PASSWORD")  # noqa: S106 - of this role
    plainly = url.render_as_string(hide_password=False)
    try:
        with open_databases(plainly, plainly) as database:
            assert database.groups().slugs(user, request) == ("elm",)
            assert [row.comment_id for row in database.comments_after(0)] == [comment_id]
            assert list(database.analyses_by_ids([comment_id])) == [comment_id]
            assert database.heads() == (comment_id, comment_id)
            assert database.users_after(0) == [user]
            assert database.user_ranges(9)
            assert all([database.change_token(), database.clock(), database.horizon(), database.runs()])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            execute(plainly, "DELETE FROM request_comments")
    finally:
        execute(wb.main_url, "DROP OWNED BY snapshotter", "DROP ROLE snapshotter")


def test_a_server_without_a_function_that_is_needed_is_too_old(wb: WhiteBalloon, database: SqlDatabase) -> None:
    wb.create()
    reader = database._main  # noqa: SLF001 - no server here is so old
    with pytest.raises(OperatorError, match=r"lacks what .* must be PostgreSQL 13 or newer"):
        reader.read(lambda connection: connection.execute(text("SELECT no_current_snapshot()")))


@pytest.mark.parametrize("query", ["SELECT 1 / 0", "SELECT 'x'::int", "SELECT chr(-1)"])
def test_whatever_a_server_says_is_one_line(database: SqlDatabase, query: str) -> None:
    with pytest.raises(OperatorError, match=r"refuses a query: .*SQLSTATE") as caught:
        database._main.read(lambda connection: connection.execute(text(query)))  # noqa: SLF001 - what no query does
    assert "\n" not in str(caught.value)


def test_keys_of_64_bits(wb: WhiteBalloon, database: SqlDatabase) -> None:
    assert database.comments_after(HIGHEST_ID) == []
    assert database.comments_by_ids([HIGHEST_ID]) == []
    execute(wb.main_url, "ALTER TABLE request_comments ALTER id TYPE bigint")
    request, (user,) = wb.add_group("elm", "Elm St")
    wb.comment(user, request)
    execute(wb.main_url, "UPDATE request_comments SET id = 1099511627776")
    with open_databases(wb.main_url, wb.insights_url) as again:
        assert again.heads().comment_id == 2**40
        assert [row.comment_id for row in again.comments_by_ids([2**40])] == [2**40]


# -------------------------------------------------------------------------------------------- indexes on times

INDEXES = (
    "CREATE INDEX ix_deleted ON request_comments (deleted_at)",
    "CREATE INDEX ix_recorded ON comment_llm_analyses (recorded_at)",
)


@pytest.mark.parametrize("kind", ["timestamp", "timestamptz"])
def test_the_last_by_time_are_found_whatever_type_it_has(wb: WhiteBalloon, database: SqlDatabase, kind: str) -> None:
    request, (user,) = wb.add_group("elm", "Elm St")
    ids = [wb.comment(user, request) for _ in range(3)]
    for one in ids[:2]:
        wb.soft_delete(one)
        wb.analyse(one)
    execute(
        wb.main_url,
        f"ALTER TABLE request_comments ALTER deleted_at TYPE {kind}",
        f"ALTER TABLE comment_llm_analyses ALTER recorded_at TYPE {kind} USING recorded_at::{kind}",
        *INDEXES,
    )
    assert database.indexed() == (True, True)
    assert [row.comment_id for row in database.latest_deleted(9)] == ids[1::-1]
    assert {row.comment_id for row in database.latest_analyses(9)} == set(ids[:2])


@pytest.mark.parametrize("kind", ["USING brin ({})", "({} DESC NULLS LAST)"])
def test_an_index_in_no_order_or_another_leads_nowhere(wb: WhiteBalloon, database: SqlDatabase, kind: str) -> None:
    execute(
        wb.main_url,
        f"CREATE INDEX ON request_comments {kind.format('deleted_at')}",
        f"CREATE INDEX ON comment_llm_analyses {kind.format('recorded_at')}",
    )
    assert database.indexed() == (False, False)


def test_who_may_not_see_indexes_has_none(wb: WhiteBalloon) -> None:
    execute(wb.main_url, *INDEXES, "REVOKE SELECT ON pg_catalog.pg_index FROM PUBLIC", "DROP ROLE IF EXISTS blind")
    execute(wb.main_url, "CREATE ROLE blind LOGIN PASSWORD 'secret'")
    execute(wb.main_url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO blind")
    blind = make_url(wb.main_url).set(username="blind", password="secret")  # noqa: S106 - of this test's own role
    url = blind.render_as_string(hide_password=False)
    try:
        with open_databases(url, url) as opened:
            assert opened.indexed() == (False, False)
    finally:
        execute(wb.main_url, "DROP OWNED BY blind", "DROP ROLE blind")


@pytest.fixture(params=["SQL_ASCII", "WIN1252"])
def other_encoding(request: pytest.FixtureRequest, postgres_server_url: str) -> Iterator[str]:
    """A database that does not know the encoding of its text, and one that has no character for some bytes."""
    name = f"encoded_{request.param.lower()}"
    as_c = f"ENCODING '{request.param}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    execute(f"{postgres_server_url}/postgres", f"CREATE DATABASE {name} {as_c}")
    url = f"{postgres_server_url}/{name}".replace("postgresql://", "postgresql+psycopg://")
    yield url
    execute(f"{postgres_server_url}/postgres", f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("query", ["", "?client_encoding=sql_ascii"])
def test_text_that_can_not_be_decoded_is_read_with_replacements(other_encoding: str, query: str) -> None:
    utf8 = f"{other_encoding}?client_encoding=utf8"
    wb = WhiteBalloon(utf8, utf8)
    wb.create()
    request, (user,) = wb.add_group("elm", "Elm")
    wb.add_request("[Signal] odd")
    wb.set_attribute(user, "signal_import_group:odd", "odd")
    first, second = wb.comment(user, request, "plain"), wb.comment(user, request, "odd")
    wb.soft_delete(second)
    wb.analyse(first, tags=["plain"], run_id="plain")
    wb.analyse(second, tags=["odd"], run_id="odd")
    execute(
        wb.main_url,
        r"UPDATE request_comments SET body = E'odd \x81 \x8d' WHERE body = 'odd'",
        r"UPDATE comment_llm_analyses SET tags = E'[\"odd \x81\"]' WHERE run_id = 'odd'",
        r"UPDATE comment_llm_runs SET model = E'odd \x81' WHERE run_id = 'odd'",
        r"UPDATE user_attributes SET key = E'signal_import_group:\x81', value = E'\x81' WHERE value = 'odd'",
        r"UPDATE help_requests SET title = E'[Signal] \x81' WHERE title = '[Signal] odd'",
    )
    with open_databases(other_encoding + query, other_encoding + query) as database:
        for _ in range(2):  # the pool has none of the connections that replace
            rows = database.comments_after(0)
            assert [(row.body, row.deleted_at is None) for row in rows] == [
                ("plain", True),
                ("odd \ufffd \ufffd", False),
            ]
        assert database.comments_of_users(0, HIGHEST_ID) == database.comments_by_ids([first, second]) == rows
        assert database.latest_deleted(5) == rows[1:]
        assert [row.tags for row in database.analyses_after(0)] == ['["plain"]', '["odd \ufffd"]']
        assert [row.comment_id for row in database.analyses_of_run("odd")] == [second]
        assert list(database.runs()) == ["odd", "plain"]
        groups = database.groups()
        assert groups.members == {user: {"elm": "Elm", "\ufffd": "\ufffd"}}
        assert set(groups.requests) == {"Elm", "\ufffd"}
        assert len(list(events(rows, {}, groups, 1))) == len(rows)

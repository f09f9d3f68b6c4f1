import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from projections.database.database import SqlDatabase, open_databases
from projections.database.errors import DatabaseLocation, explain
from projections.errors import DatabaseUnavailableError, OperatorError
from projections.profile_key import HIGHEST_ID
from support.whiteballoon import WhiteBalloon, execute, file_of, opener, sqlite_url

Open = Callable[..., SqlDatabase]


@pytest.fixture
def wb(tmp_path: Path) -> WhiteBalloon:
    return WhiteBalloon.in_folder(tmp_path / "wb")


@pytest.fixture
def opened(wb: WhiteBalloon) -> Iterator[Open]:
    with opener(wb) as open_them:
        yield open_them


def test_nothing_can_be_written(wb: WhiteBalloon, opened: Open) -> None:
    reader = opened()._main  # noqa: SLF001 - no public way leads to a write
    with pytest.raises(DatabaseUnavailableError):
        reader.read(lambda connection: connection.exec_driver_sql("DELETE FROM users"))
    assert wb.add_user() == 1


@pytest.mark.parametrize("variable", ["DATABASE_URL", "INSIGHTS_DATABASE_URL"])
def test_a_missing_file_is_named_and_not_made(wb: WhiteBalloon, tmp_path: Path, variable: str) -> None:
    urls = {"DATABASE_URL": wb.main_url, "INSIGHTS_DATABASE_URL": wb.insights_url}
    missing = tmp_path / "no ünusual?name%20#.db"
    urls[variable] = sqlite_url(missing)
    with pytest.raises(OperatorError) as caught:
        open_databases(*urls.values())
    assert str(caught.value).startswith(f"{variable} (sqlite:///{tmp_path}")
    assert "does not exist" in str(caught.value)
    assert not list(tmp_path.glob("no*"))


def test_a_path_may_have_any_characters(tmp_path: Path) -> None:
    folder = tmp_path / "a b#c%20ü"
    folder.mkdir()
    wb = WhiteBalloon.in_folder(folder)
    with open_databases(wb.main_url, wb.insights_url) as database:
        assert database.heads() == (0, 0)


def test_a_file_url_is_understood(wb: WhiteBalloon) -> None:
    uri = f"sqlite:///file:{file_of(wb.main_url)}?mode=rwc&uri=true"
    with open_databases(uri, wb.insights_url) as database:
        assert database.heads() == (0, 0)


def test_a_folder_is_no_database(wb: WhiteBalloon, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"DATABASE_URL .* is a folder"):
        open_databases(f"sqlite:///{tmp_path}", wb.insights_url)


def test_a_file_that_is_no_database(wb: WhiteBalloon, tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("no database " * 1000)
    with pytest.raises(OperatorError, match=r"INSIGHTS_DATABASE_URL .*text\.db.* is not a SQLite database"):
        open_databases(wb.main_url, f"sqlite:///{text}")


def test_missing_tables_and_columns_are_named(wb: WhiteBalloon) -> None:
    execute(wb.main_url, "DROP TABLE user_attributes", "ALTER TABLE request_comments RENAME deleted_at TO gone_at")
    with pytest.raises(
        OperatorError, match=r"DATABASE_URL .* has no column request_comments\.deleted_at, table user_a"
    ):
        open_databases(wb.main_url, wb.insights_url)


def test_the_two_urls_exchanged_are_noticed(wb: WhiteBalloon) -> None:
    with pytest.raises(OperatorError, match=r"INSIGHTS_.* has no table comment_llm_analyses, table comment_llm_runs;"):
        open_databases(wb.main_url, wb.main_url.replace("app", "./app"))
    with pytest.raises(OperatorError, match=r"^INSIGHTS_DATABASE_URL .* table comment_llm_runs; set INSIGHTS_DATABASE"):
        open_databases(wb.main_url, wb.main_url)
    with pytest.raises(OperatorError, match=r"^DATABASE_URL .* has no table request_comments"):
        open_databases(wb.insights_url, wb.main_url)


def test_a_table_that_vanishes_later_is_named(wb: WhiteBalloon, opened: Open) -> None:
    database = opened()
    execute(wb.main_url, "DROP TABLE request_comments")
    with pytest.raises(OperatorError, match="no such table: request_comments"):
        database.comments_after(0)


def test_a_file_that_vanishes_later_may_come_back(wb: WhiteBalloon, opened: Open) -> None:
    database = opened()
    database.change_token()
    file_of(wb.main_url).rename(file_of(wb.main_url).with_suffix(".away"))
    for read in (database.heads, database.change_token):
        with pytest.raises(DatabaseUnavailableError, match="DATABASE_URL"):
            read()
    file_of(wb.main_url).with_suffix(".away").rename(file_of(wb.main_url))
    assert database.heads() == (0, 0)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://ann:secret@host/wb", "kind 'mysql', which is not supported; write sqlite:///"),
        ("data/secret.db", "DATABASE_URL is not a database URL; write sqlite:///"),
        ("postgresql://ann:secret@host:port/wb", "DATABASE_URL is not a database URL"),
        ("", "DATABASE_URL is not a database URL"),
        ("sqlite:////dev/zero", "is a pipe or a device; write sqlite:///"),
        ("postgresql://host/wb?port=secret", "DATABASE_URL is not a database URL"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("postgresql://ann:secret@127.0.0.1:1/wb", r"\(postgresql\+psycopg://ann:\*\*\*@127.0.0.1:1/wb\) cannot be re"),
        ("postgresql+psycopg2://ann:secret@127.0.0.1:1/wb", "cannot be reached: .*refused.*start PostgreSQL, or corr"),
        ("postgresql://127.0.0.1:1/wb?user=ann&password=secret", r"\?password=\*\*\*&user=\*\*\*\) cannot be reached"),
        ("postgres://ann:secret@127.0.0.1:1/wb?colour=red", "is not a valid URL: .*colour"),
    ],
)
def test_a_url_that_cannot_work(wb: WhiteBalloon, url: str, message: str) -> None:
    with pytest.raises(OperatorError, match=message) as caught:
        open_databases(url, wb.insights_url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wal_that_nobody_has_open_needs_a_folder_that_can_be_written(wb: WhiteBalloon, tmp_path: Path) -> None:
    error = sqlite3.OperationalError("attempt to write a readonly database")  # root is never refused by a folder
    error.sqlite_errorcode = sqlite3.SQLITE_READONLY_DIRECTORY
    explained = explain(error, DatabaseLocation("DATABASE_URL", wb.main_url, file_of(wb.main_url)))
    assert isinstance(explained, DatabaseUnavailableError)
    assert f"write to the folder {tmp_path}" in str(explained)


def test_the_oracle_s_databases(oracle_databases: Path) -> None:
    main, insights = (oracle_databases / name for name in ("app.db", "comment_llm_insights.db"))
    with open_databases(f"sqlite:///{main}", f"sqlite:///{insights}") as database:
        assert database.heads().comment_id == len(database.comments_after(0, HIGHEST_ID)) == 23_952
        assert len(database.analyses_after(0, HIGHEST_ID)) == 16_773
        assert len(database.groups().members) > 1_000


def schema(path: Path) -> set[tuple[str, str]]:
    """(table, column or index) of everything in a file."""
    with closing(sqlite3.connect(path)) as connection:
        return set(
            connection.execute(
                "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' "
                "UNION SELECT tbl_name, name FROM sqlite_master WHERE sql LIKE 'CREATE INDEX%'"
            )
        )


def test_our_tables_are_those_of_whiteballoon(oracle_databases: Path, wb: WhiteBalloon) -> None:
    for url in (wb.main_url, wb.insights_url):
        theirs = schema(oracle_databases / file_of(url).name)
        assert schema(file_of(url)) - theirs <= {("help_requests", "ix_help_requests_status")}
        assert theirs <= schema(file_of(url))


def test_reading_leaves_the_files_as_they_were(oracle_databases: Path) -> None:
    main, insights = (oracle_databases / name for name in ("app.db", "comment_llm_insights.db"))
    before = [main.read_bytes(), insights.read_bytes()]
    with open_databases(f"sqlite:///{main}", f"sqlite:///{insights}") as database:
        database.user_ranges(100)
        database.groups()
        database.change_token()
    assert [main.read_bytes(), insights.read_bytes()] == before
    assert {path.name for path in oracle_databases.iterdir()} == {"app.db", "comment_llm_insights.db"}

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from projections.database.database import Database
from projections.errors import DatabaseUnavailableError, OperatorError
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


def journal(wb: WhiteBalloon, mode: str) -> None:
    for url in (wb.main_url, wb.insights_url):
        execute(url, f"PRAGMA journal_mode = {mode}")


MODES = pytest.mark.parametrize("mode", ["DELETE", "WAL"])


@MODES
def test_the_change_token_moves_with_each_commit_and_only_then(wb: WhiteBalloon, opened: Open, mode: str) -> None:
    journal(wb, mode)
    database = opened()
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
        assert database.change_token() == before
        write()
        assert database.change_token() != before


@MODES
def test_the_change_token_sees_another_process(wb: WhiteBalloon, opened: Open, mode: str) -> None:
    journal(wb, mode)
    wb.add_user("ann")
    database = opened()
    before = database.change_token()
    program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('DELETE FROM users'); c.commit()"
    subprocess.run([sys.executable, "-c", program, str(file_of(wb.main_url))], check=True)
    assert database.change_token() != before


def test_a_file_put_in_the_database_s_place_is_noticed_and_read(wb: WhiteBalloon, opened: Open, tmp_path: Path) -> None:
    request, (user,) = wb.add_group("elm", "Elm St")
    wb.comment(user, request)
    database = opened()
    before = database.change_token()
    assert len(database.comments_after(0)) == 1
    other = WhiteBalloon.in_folder(tmp_path / "other")
    file_of(other.main_url).replace(file_of(wb.main_url))
    assert database.change_token() != before
    assert database.comments_after(0) == []


@MODES
def test_while_nothing_is_committed_it_is_as_though_nobody_read(
    wb: WhiteBalloon, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """The last writer to end puts the WAL into the file, which then is the whole database: to copy, or to replace."""
    monkeypatch.setattr("projections.database.connection.QUIET_S", 0.05)
    journal(wb, mode)
    path, copy = file_of(wb.main_url), tmp_path / "copy.db"
    database = opened()
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("INSERT INTO users (id, created_at) VALUES (1, '2024-06-01 09:00:00.000000')")
        writer.commit()
        before = quiet(database)
    database.change_token()
    copy.write_bytes(path.read_bytes())
    with closing(sqlite3.connect(copy)) as copied:
        assert copied.execute("SELECT count(*) FROM users").fetchone() == (1,)
    before = quiet(database)
    wb.add_user("ann")
    assert database.change_token() != before
    before = quiet(database)
    copy.replace(path)
    assert database.change_token() != before


@pytest.mark.parametrize("links", [1, 2])
def test_a_wal_database_behind_a_link_is_followed_after_it_was_quiet(
    wb: WhiteBalloon, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: int
) -> None:
    """SQLite keeps the WAL beside the file that the link leads to, and only the WAL changes."""
    monkeypatch.setattr("projections.database.connection.QUIET_S", 0.05)
    journal(wb, "WAL")
    path = file_of(wb.main_url)
    for number in range(links):
        (tmp_path / f"link{number}").mkdir()
        link = tmp_path / f"link{number}" / f"linked{number}.db"
        link.symlink_to(path)
        path = link
    target, wb.main_url = file_of(wb.main_url), f"sqlite:///{path}"
    with closing(sqlite3.connect(target)) as writer:
        writer.execute("INSERT INTO users (id, created_at) VALUES (1, '2024-06-01 09:00:00.000000')")
        writer.commit()
        database = opened()
        before = quiet(database)
        writer.execute("INSERT INTO users (id, created_at) VALUES (2, '2024-06-01 09:00:00.000000')")
        writer.commit()
        assert database.change_token() != before


def test_what_the_files_do_not_show_is_seen_all_the_same(
    wb: WhiteBalloon, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.database.connection.QUIET_S", 0.05)
    path = file_of(wb.main_url)
    database = opened()
    before = quiet(database)
    stamp = path.stat().st_mtime_ns
    wb.set_attribute(wb.add_user("ann"), "theme", "dark")
    os.utime(path, ns=(stamp, stamp))
    assert database.change_token() == before
    monkeypatch.setattr("projections.database.connection.RECHECK_S", 0.0)
    assert database.change_token() != before


def test_a_commit_in_the_same_step_of_the_file_s_clock_as_what_was_written_before_it_is_seen(
    wb: WhiteBalloon, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long transaction writes into the WAL before it is committed; one that was used before need not grow by it."""
    monkeypatch.setattr("projections.database.connection.QUIET_S", 0.05)
    journal(wb, "WAL")
    wal = file_of(wb.main_url).with_name("app.db-wal")
    with closing(sqlite3.connect(file_of(wb.main_url))) as writer:
        writer.execute("CREATE TABLE t (x)")
        writer.execute("INSERT INTO t VALUES (zeroblob(400000))")
        writer.commit()
        writer.execute("PRAGMA wal_checkpoint(RESTART)")
        writer.execute("PRAGMA cache_size = 1")
        database = opened()
        for _ in range(2):
            before = database.change_token()  # which moves when the WAL is used from its beginning again
            time.sleep(0.06)
            for _ in range(10):
                writer.execute("INSERT INTO t VALUES (zeroblob(4000))")
        size, stamp = wal.stat().st_size, wal.stat().st_mtime_ns
        assert database.change_token() == before
        writer.commit()
        assert wal.stat().st_size == size
        os.utime(wal, ns=(stamp, stamp))
        assert database.change_token() != before


def quiet(database: Database) -> str:
    """The token after a while without a commit; it stays as it is."""
    before = database.change_token()
    for _ in range(8):
        time.sleep(0.03)
        assert database.change_token() == before
    return before


@MODES
def test_a_reader_holds_no_lock_between_its_reads(wb: WhiteBalloon, opened: Open, mode: str) -> None:
    journal(wb, mode)
    database = opened()
    database.change_token()
    database.groups()
    database.comments_of_users(0, HIGHEST_ID, (1, 1), 10)
    with closing(sqlite3.connect(file_of(wb.main_url), timeout=0, isolation_level=None)) as writer:
        writer.execute("PRAGMA locking_mode = NORMAL")
        writer.execute("BEGIN EXCLUSIVE")
        writer.execute("DELETE FROM users")
        writer.execute("COMMIT")
        assert writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0


def test_a_writer_s_lock_is_waited_out(wb: WhiteBalloon, opened: Open) -> None:
    request, (user,) = wb.add_group("elm", "Elm St")
    wb.comment(user, request)
    database = opened()
    with closing(sqlite3.connect(file_of(wb.main_url), isolation_level=None, check_same_thread=False)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        release = threading.Timer(1.5, writer.execute, ["COMMIT"])  # longer than SQLite itself waits
        release.start()
        assert len(database.comments_after(0)) == 1
        release.join()


def test_a_lock_that_stays_is_said_to_pass(wb: WhiteBalloon, opened: Open) -> None:
    database = opened(timeout=0)
    with closing(sqlite3.connect(file_of(wb.main_url), isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseUnavailableError, match=r"DATABASE_URL .*locked"):
            database.comments_after(0)
        with pytest.raises(OperatorError, match=r"DATABASE_URL .*locked"):
            opened(timeout=0)
    assert database.comments_after(0) == []


def test_a_wal_database_is_read_while_a_writer_is_in_a_transaction(wb: WhiteBalloon, opened: Open) -> None:
    journal(wb, "WAL")
    database = opened()
    with closing(sqlite3.connect(file_of(wb.main_url), isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        writer.execute("INSERT INTO users (id, created_at) VALUES (1, '2024-06-01 09:00:00.000000')")
        assert database.comments_after(0) == []


def test_a_wal_database_whose_index_cannot_be_made_says_so(wb: WhiteBalloon, opened: Open) -> None:
    journal(wb, "WAL")
    # The next best to a folder that is not ours to write to, which does not hinder root.
    Path(f"{file_of(wb.main_url)}-shm").symlink_to("nowhere/app.db-shm")
    with pytest.raises(OperatorError, match=r"DATABASE_URL .*WAL.*app\.db-shm"):
        opened()


def test_a_writer_that_died_half_way_is_said_to_pass(wb: WhiteBalloon, opened: Open) -> None:
    journal(wb, "DELETE")
    database = opened()
    path = file_of(wb.main_url)
    wb.add_user("ann")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size = 1")  # so that pages reach the file before the commit
        writer.execute("BEGIN")
        writer.execute(
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
            "INSERT INTO users (id, username, created_at) SELECT i, 'user' || i, '2024-06-01' FROM n"
        )
        left = {name: name.read_bytes() for name in (path, Path(f"{path}-journal"))}
        writer.execute("ROLLBACK")
    for name, content in left.items():
        name.write_bytes(content)
    with pytest.raises(DatabaseUnavailableError, match="repaired when WhiteBalloon next opens it"):
        database.comments_after(0)
    execute(wb.main_url, "SELECT count(*) FROM users")
    assert database.comments_after(0) == []

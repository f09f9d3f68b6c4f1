"""WhiteBalloon makes the analyses' database with the first analysis; until then there are no tags, and no error."""

import errno
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from projections.database.database import Database, open_databases
from projections.errors import DatabaseUnavailableError, OperatorError
from projections.remembered.analyses_seen import SeenAnywhere, SeenInStore
from projections.store.memory import MemoryStore
from projections.store.protocol import Folder
from projections.whiteballoon import INSIGHTS
from snapshot.direct import direct_snapshots
from snapshot.files.disk import LocalDisk
from snapshot.files.marker import SeenInMarker, make_marker, read_marker
from support.whiteballoon import WhiteBalloon, file_of

EVERYBODY = (0, 2**63 - 1)
Open = Callable[..., Database]


@pytest.fixture
def wb(tmp_path: Path) -> WhiteBalloon:
    made = WhiteBalloon.in_folder(tmp_path / "wb")
    file_of(made.insights_url).unlink()
    request, (user,) = made.add_group("elm", "Elm St")
    made.comment(user, request)
    return made


@pytest.fixture
def seen() -> SeenAnywhere:
    store = MemoryStore(lambda: 0)
    return SeenAnywhere(SeenInStore(lambda: store))


def appear(wb: WhiteBalloon) -> None:
    INSIGHTS.create_all(wb.insights)
    wb.analyse(1, tags=["first"])


def tags(database: Database) -> list[str]:
    (snapshot,) = direct_snapshots(database, database.groups(), *EVERYBODY)
    return [tag.label for tag in snapshot.top_tags]


def test_there_are_no_tags_which_is_said_and_they_are_followed_when_they_appear(
    wb: WhiteBalloon, seen: SeenAnywhere
) -> None:
    with capture_logs() as logs, open_databases(wb.main_url, wb.insights_url, seen=seen) as database:
        before = database.change_token()
        assert tags(database) == []
        assert database.heads() == (1, 0)
        assert (database.runs(), database.latest_analyses(9), database.indexed()) == ({}, [], (False, False))
        assert not seen.get()
        appear(wb)
        assert database.change_token() != before
        assert tags(database) == ["first"]
        assert database.heads() == (1, 1)
        assert seen.get()
    assert [one["log_level"] for one in logs] == ["warning", "info"]


@pytest.mark.parametrize("made", ["an empty file", "no table of them", "a folder"])
def test_it_is_none_yet_only_where_the_place_answers(wb: WhiteBalloon, seen: SeenAnywhere, made: str) -> None:
    path = file_of(wb.insights_url)
    if made == "a folder":
        path.mkdir()
        with pytest.raises(OperatorError, match="is a folder"):
            open_databases(wb.main_url, wb.insights_url, seen=seen)
        return
    with closing(sqlite3.connect(path)) as there:
        if made == "no table of them":
            there.execute("CREATE TABLE other (x)")
            there.commit()
    path.touch()
    with open_databases(wb.main_url, wb.insights_url, seen=seen) as database:
        assert tags(database) == []


def test_where_both_are_one_the_tables_may_come_later(wb: WhiteBalloon, seen: SeenAnywhere) -> None:
    with open_databases(wb.main_url, wb.main_url, seen=seen) as database:
        assert tags(database) == []
        INSIGHTS.create_all(wb.main)
        assert tags(database) == []
        assert database.heads() == (1, 0)


@pytest.mark.parametrize("missing", ["folder", "target", "column"])
def test_a_place_that_does_not_answer_or_has_half_of_them_is_an_error(
    wb: WhiteBalloon, seen: SeenAnywhere, tmp_path: Path, missing: str
) -> None:
    url = wb.insights_url
    if missing == "folder":
        url = f"sqlite:///{tmp_path}/nowhere/insights.db"
    elif missing == "target":
        file_of(url).symlink_to(tmp_path / "nowhere" / "insights.db")
    else:
        with closing(sqlite3.connect(file_of(url))) as there:
            there.execute("CREATE TABLE comment_llm_runs (run_id TEXT)")
            there.commit()
    with pytest.raises(OperatorError):
        open_databases(wb.main_url, url, seen=seen)


def test_without_a_memory_of_it_the_database_must_be_there(wb: WhiteBalloon) -> None:
    with pytest.raises(OperatorError, match="does not exist"):
        open_databases(wb.main_url, wb.insights_url)


def test_once_there_were_analyses_their_lack_is_a_database_that_is_away(wb: WhiteBalloon, seen: SeenAnywhere) -> None:
    appear(wb)
    with open_databases(wb.main_url, wb.insights_url, seen=seen) as database:
        assert tags(database) == ["first"]
    path = file_of(wb.insights_url)
    path.rename(path.with_suffix(".away"))
    with open_databases(wb.main_url, wb.insights_url, seen=seen) as database:
        with pytest.raises(DatabaseUnavailableError, match="it is missing; restore it, or confirm with --prune-all"):
            tags(database)
        path.with_suffix(".away").rename(path)
        assert tags(database) == ["first"]


def test_that_they_are_gone_can_be_confirmed_once(wb: WhiteBalloon, tmp_path: Path) -> None:
    make_marker(tmp_path, Folder("17ab", "elm"))
    marker = SeenInMarker(tmp_path)
    marker.put(seen=True)
    database = open_databases(wb.main_url, wb.insights_url, seen=SeenAnywhere(marker, read_only=True))
    with database, pytest.raises(DatabaseUnavailableError):
        tags(database)
    with open_databases(wb.main_url, wb.insights_url, seen=SeenAnywhere(marker, confirmed=True)) as database:
        assert tags(database) == []
    assert not marker.get()
    with open_databases(wb.main_url, wb.insights_url, seen=SeenAnywhere(marker)) as database:
        assert tags(database) == []


def test_a_marker_of_before_knows_of_none_and_keeps_what_it_says(tmp_path: Path) -> None:
    marker = SeenInMarker(tmp_path)
    marker.put(seen=True)
    assert not marker.get(), "there is no folder of ours yet"
    make_marker(tmp_path, Folder("17ab", "elm"))
    (tmp_path / ".signal-profiles").write_text('{"id":"17ab","group_slug":"elm"}')
    assert not marker.get()
    marker.put(seen=True)
    assert marker.get()
    assert read_marker(tmp_path) == Folder("17ab", "elm")


def test_a_folder_that_cannot_be_written_ends_nothing_and_learns_it_later(wb: WhiteBalloon, tmp_path: Path) -> None:
    class Full(LocalDisk):
        def write_new(self, path: str, content: bytes, *, like: str | None = None) -> None:  # noqa: ARG002
            raise OSError(errno.ENOSPC, "No space left on device")

    appear(wb)
    make_marker(tmp_path, Folder("17ab", "elm"))
    store = MemoryStore(lambda: 0)
    for disk, remembered in ((Full(), False), (LocalDisk(), True)):
        marker = SeenInMarker(tmp_path, disk)
        places = SeenAnywhere(marker, SeenInStore(lambda: store))
        with open_databases(wb.main_url, wb.insights_url, seen=places) as database:
            assert tags(database) == ["first"]
        assert (marker.get(), places.get()) == (remembered, True)

"""A folder made to say what the database says: beside others who write there, and on a disk that fails."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

import pytest

from projections.database.database import Database, open_databases
from projections.errors import OperatorError
from snapshot.export import Export, Exported, ranges_of
from snapshot.files.disk import LocalDisk
from snapshot.files.folder import ProfileFolder, open_folder
from snapshot.files.marker import MARKER
from snapshot.files.staging import Moved, Place, Prepared, Staging
from support.whiteballoon import WhiteBalloon


@pytest.fixture
def balloon(tmp_path: Path) -> WhiteBalloon:
    made = WhiteBalloon.in_folder(tmp_path / "data")
    request, users = made.add_group("elm", "Elm Street", members=3)
    for user in users:
        made.comment(user, request, "hello")
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[ProfileFolder]:
    opened = open_folder(tmp_path / "profiles", None)
    yield opened
    opened.close()


def export(balloon: WhiteBalloon, folder: ProfileFolder) -> Exported:
    def opening() -> AbstractContextManager[Database]:
        return open_databases(balloon.main_url, balloon.insights_url)

    with opening() as database:
        groups = database.groups()
        ranges = ranges_of(database, groups)
    return Export(opening, groups, folder).run(ranges, processes=1, prune_all=False, progress=lambda: None)


def test_a_newer_file_of_the_daemon_stays(
    balloon: WhiteBalloon, folder: ProfileFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert export(balloon, folder).written == 3
    balloon.comment(1, 1, "another")
    balloon.comment(2, 1, "another")
    move = Staging.move

    def meanwhile(self: Staging, files: Sequence[Prepared], removed: Sequence[Place]) -> Moved:
        other = folder.path / "other"
        other.write_bytes(b"newer")
        other.replace(folder.path / "1-elm.json")
        return move(self, files, removed)

    monkeypatch.setattr(Staging, "move", meanwhile)
    done = export(balloon, folder)
    assert (done.written, done.overtaken, done.unchanged) == (1, 1, 1)
    assert (folder.path / "1-elm.json").read_bytes() == b"newer"
    assert b'"message_count": 2' in (folder.path / "2-elm.json").read_bytes()


@pytest.mark.parametrize("call", ["write", "replace"])
def test_a_disk_that_is_full_is_said_and_nothing_is_left_lying_about(
    balloon: WhiteBalloon, folder: ProfileFolder, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OperatorError, match="No space left") as caught:
        export(balloon, folder)
    assert str(folder.path) in str(caught.value)
    assert not list(folder.path.glob("*.tmp"))
    assert list(folder.names()) == []


def test_a_folder_in_a_profiles_place_is_named_and_the_others_are_written(
    balloon: WhiteBalloon, folder: ProfileFolder
) -> None:
    (folder.path / "1-elm.json").mkdir()
    with pytest.raises(OperatorError, match=r"1-elm\.json can't be written \(Is a directory\)"):
        export(balloon, folder)
    assert len(list(folder.names())) == 3


def test_two_slugs_that_would_be_one_file_are_refused(balloon: WhiteBalloon, tmp_path: Path) -> None:
    """The later one was once said to be another process'."""

    class IgnoringCase(LocalDisk):
        def exists(self, path: str) -> bool:
            return super().exists(path) or path.endswith(MARKER.upper())

    request, _ = balloon.add_group("ELM", "Elm Road", members=0)
    balloon.join(1, "ELM", "Elm Road")
    balloon.comment(1, request)
    folder = open_folder(tmp_path / "others", None, disk=IgnoringCase())
    with pytest.raises(OperatorError, match=r"1-(elm|ELM)\.json and 1-(elm|ELM)\.json are one file"):
        export(balloon, folder)
    assert list(folder.names()) == []
    folder.close()


@pytest.mark.parametrize(("renamed", "passes"), [(1, True), (2, False)])
def test_one_request_renamed_passes_where_the_profiles_go_on(tmp_path: Path, renamed: int, passes: bool) -> None:
    balloon = WhiteBalloon.in_folder(tmp_path / "data")
    request, users = balloon.add_group("elm", "Elm Street", members=25)
    requests = [request, *(balloon.add_request("[Signal] Elm Street") for _ in range(2))]
    at = datetime(2024, 6, 1)  # noqa: DTZ001 - as WhiteBalloon stores times
    rows = [
        {"user_id": user, "help_request_id": one, "body": "a", "created_at": at} for user in users for one in requests
    ]
    balloon.comments(rows)
    folder = open_folder(tmp_path / "profiles", None)
    assert export(balloon, folder).written == 25
    for one in requests[:renamed]:
        balloon.rename_request(one, "[Signal] Oak Lane")
    if passes:
        assert export(balloon, folder).written == 25
    else:
        with pytest.raises(OperatorError, match="would remove 50 of 75 comments"):
            export(balloon, folder)
    folder.close()


def test_ranges_leave_out_where_nobody_asked_for_is(balloon: WhiteBalloon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snapshot.export.COMMENTS_A_RANGE", 1)
    request, (member,) = balloon.add_group("oak", "Oak Lane")
    balloon.comment(member, request)
    with open_databases(balloon.main_url, balloon.insights_url) as database:
        everybody = ranges_of(database, database.groups())
        assert [sum(first <= user <= last for first, last in everybody) for user in range(1, 5)] == [1] * 4
        balloon.leave(2, "elm")
        assert len(ranges_of(database, database.groups())) == len(everybody) - 1

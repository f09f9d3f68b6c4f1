"""Many files at once: nothing changes before all are moved, and no later file is lost."""

import errno
import os
from pathlib import Path

import pytest

from snapshot.files.disk import LocalDisk
from snapshot.files.folder import open_folder
from snapshot.files.staging import Place, Prepared, Staging


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(tmp_path, "00face")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def prepared(staging: Staging, name: str, content: bytes) -> Prepared:
    return staging.prepare(Place(name, staging.current(name)[1]), content)


@pytest.mark.parametrize("files", [3, 100])
def test_files_come_to_their_places_all_together(tmp_path: Path, staging: Staging, files: int) -> None:
    (tmp_path / "0.json").write_bytes(b"old")
    (tmp_path / "gone.json").write_bytes(b"old")
    places = [prepared(staging, f"{number}.json", b"%d" % number) for number in range(files)]
    gone = Place("gone.json", staging.current("gone.json")[1])
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["0.json", "gone.json"]
    assert (tmp_path / "0.json").read_bytes() == b"old"

    assert staging.move(places, [gone]) == (files, 1, 0)

    assert contents(tmp_path) == {f"{number}.json": b"%d" % number for number in range(files)}


def test_a_folder_in_a_files_place_does_not_hold_the_others(tmp_path: Path, staging: Staging) -> None:
    (tmp_path / "1.json").mkdir()
    places = [prepared(staging, f"{number}.json", b"new") for number in range(3)]
    with pytest.raises(IsADirectoryError, match=r"1\.json"):
        staging.move(places)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.json", "1.json", "2.json"]
    assert (tmp_path / "1.json").is_dir()


def test_a_name_that_is_too_long_here_does_not_hold_the_others(
    tmp_path: Path, staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encrypted folders take 143 bytes."""
    replace = os.replace

    def short_names_only(source: str, target: str) -> None:
        if len(Path(target).name) > 143:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        replace(source, target)

    monkeypatch.setattr(os, "replace", short_names_only)
    places = [prepared(staging, f"{name}.json", b"new") for name in ("a" * 150, "b")]
    with pytest.raises(OSError, match=f"too long: '.*{'a' * 150}"):
        staging.move(places)
    assert contents(tmp_path) == {"b.json": b"new"}


def test_abandoned_files_leave_no_trace(tmp_path: Path, staging: Staging) -> None:
    (tmp_path / "1.json").write_bytes(b"old")
    prepared(staging, "1.json", b"new")
    prepared(staging, "2.json", b"new")
    other = prepared(Staging(tmp_path, "abcdef"), "3.json", b"of another run")
    staging.abandon()
    assert contents(tmp_path) == {"1.json": b"old", other.waiting: b"of another run"}


def test_what_another_process_wrote_meanwhile_stays(tmp_path: Path, staging: Staging) -> None:
    for name in ("changed.json", "removed.json", "stale.json", "same.json"):
        (tmp_path / name).write_bytes(b"old")
    names = ("changed.json", "removed.json", "appeared.json", "same.json")
    places = [prepared(staging, name, b"ours") for name in names]
    stale = Place("stale.json", staging.current("stale.json")[1])
    for name in ("changed.json", "appeared.json", "stale.json"):
        other = tmp_path / f"{name}.other"
        other.write_bytes(b"theirs")
        other.replace(tmp_path / name)
    (tmp_path / "removed.json").unlink()

    assert staging.move(places, [stale]) == (1, 0, 4)

    theirs = dict.fromkeys(("changed.json", "appeared.json", "stale.json"), b"theirs")
    assert contents(tmp_path) == theirs | {"same.json": b"ours"}


def test_files_are_on_the_disk_before_they_are_moved(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    real_replace, real_fsync = os.replace, os.fsync

    def replace(old: str, new: str) -> None:
        done.append("move")
        real_replace(old, new)

    def fsync(handle: int) -> None:
        done.append("flush")
        real_fsync(handle)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(LocalDisk, "_flush_file_system", lambda *_: done.append("flush all") or True)  # type: ignore[func-returns-value]
    staging.move([prepared(staging, f"{number}.json", b"x") for number in range(2)])
    assert done == ["flush", "flush", "move", "move", "flush"]
    done.clear()
    staging.move([prepared(staging, f"{number}.json", b"y") for number in range(40)])
    assert done == ["flush all", *["move"] * 40, "flush"]


def test_a_system_that_cannot_flush_all_flushes_each(
    staging: Staging, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(LocalDisk, "_flush_file_system", lambda *_: False)
    monkeypatch.setattr(LocalDisk, "flush", lambda _disk, path: flushed.append(path))
    staging.move([prepared(staging, f"{number}.json", b"x") for number in range(40)])
    assert len(flushed) == 41
    assert flushed[-1] == str(tmp_path)


def test_a_full_disk_is_an_error_of_its_own(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_handle: int, _data: memoryview) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space left"):
        prepared(staging, "1.json", b"x")


def test_what_a_crash_left_is_swept_by_the_folders_next_user(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "profiles", None)
    folder.close()
    prepared(Staging(folder.path, "c4a54e"), "1-elm.json", b"x")
    (left,) = folder.path.glob("*.tmp")
    os.utime(left, (0, 0))
    open_folder(folder.path, None).close()
    assert not left.exists()

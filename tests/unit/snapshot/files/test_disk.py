"""What lies in a folder may be anything, and so may the file system under it."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from projections.errors import OperatorError
from projections.profile_key import ProfileKey
from snapshot.cli.options import FileOptions
from snapshot.files.disk import LARGEST, LOCAL, LocalDisk, folder_mode
from snapshot.files.folder import DAMAGED, ForeignFileError, NameTakenError, ProfileFolder, open_folder
from snapshot.files.jsonl import remove_lines
from snapshot.files.marker import MARKER
from snapshot.files.staging import Place, Staging
from support.profile_files import profile_file, put_profile_file

ANN = ProfileKey(1, "lions")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[ProfileFolder]:
    found = open_folder(tmp_path / "profiles", None)
    yield found
    found.close()


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ---------------------------------------------------------------------------------------------- what lies there


def link(place: Path) -> None:
    place.symlink_to(put_profile_file(place.parent.parent, *ANN))


def device(place: Path) -> None:
    place.symlink_to("/dev/zero")


def sparse(place: Path) -> None:
    with place.open("wb") as file:
        file.truncate(LARGEST + 1)


@pytest.mark.parametrize("put", [os.mkfifo, link, device, sparse], ids=["fifo", "link", "device", "huge"])
def test_what_is_no_small_regular_file_is_neither_read_nor_removed_and_a_live_profile_replaces_it(
    folder: ProfileFolder, put: Callable[[Path], object]
) -> None:
    """A FIFO of such a name once held the flusher's thread for ever."""
    place = folder.place(ANN)
    put(place)
    with pytest.raises(OSError, match=r"regular|link|large"):
        folder.read(ANN)
    assert folder.hash_on_disk(ANN) == DAMAGED
    assert [type(error) for error in folder.write({ANN: None}).values()] == [ForeignFileError]
    assert place.is_symlink() or place.exists()
    content, stamp = Staging(folder.path, "00face").current(place.name)
    assert stamp is not None
    assert content != profile_file(*ANN)
    assert folder.write({ANN: profile_file(*ANN)}) == {}
    assert folder.read(ANN) == profile_file(*ANN)


def test_a_marker_that_is_a_link_is_refused_with_the_cause(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b'{"id": "17ab", "group_slug": null}')
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / MARKER).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OperatorError, match=f"{MARKER}: is a symbolic link"):
        open_folder(tmp_path / "profiles", None)


# ------------------------------------------------------------------------------------------- other file systems


class Poor(LocalDisk):
    """No hard links, no flush of folders, no flush of all, no modes, and names that ignore case."""

    CAN_FLUSH_ALL = False

    def exists(self, path: str) -> bool:
        return super().exists(path) or path.endswith(MARKER.upper())


@pytest.fixture
def poor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProfileFolder]:
    flush = os.fsync

    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        flush(handle)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "fchmod", refuse)
    found = open_folder(tmp_path / "profiles", None, disk=Poor())
    yield found
    found.close()


def test_a_file_system_without_links_modes_and_flushes_of_folders_is_used_all_the_same(poor: ProfileFolder) -> None:
    assert poor.write({ANN: profile_file(*ANN)}) == {}
    assert poor.write({ANN: profile_file(*ANN)}) == {}
    assert poor.write({ANN: None}) == {}
    assert list(poor.names()) == []


def test_two_slugs_that_differ_in_case_only_are_refused_where_they_would_be_one_file(poor: ProfileFolder) -> None:
    """Each flush once put its own profile in the place of the other's."""
    upper = ProfileKey(1, "LIONS")
    poor.place(upper).write_bytes(profile_file(*ANN))  # as such a file system gives it, whatever the case
    (error,) = poor.write({upper: profile_file(*upper)}).values()
    assert isinstance(error, NameTakenError)
    assert "1-lions.json and 1-LIONS.json are one file" in str(error)
    assert poor.place(upper).read_bytes() == profile_file(*ANN)
    assert poor.write({ANN: profile_file(*ANN)}) == {}


def test_of_two_such_slugs_in_one_batch_one_is_written(poor: ProfileFolder) -> None:
    upper = ProfileKey(1, "LIONS")
    errors = poor.write({ANN: profile_file(*ANN), upper: profile_file(*upper), ProfileKey(2, "LIONS"): b"x"})
    assert [(key, type(error)) for key, error in errors.items()] == [(upper, NameTakenError)]
    assert not poor.place(upper).exists()


def test_a_flush_that_fails_for_another_reason_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output"):
        LOCAL.flush(str(tmp_path))


# ------------------------------------------------------------------------------------------------------- modes


def test_new_files_and_folders_are_not_for_everyone(tmp_path: Path, umask: Callable[[int], int]) -> None:
    umask(0o022)
    folder = open_folder(tmp_path / "a" / "b", None)
    folder.write({ANN: b"x"})
    modes = {path: mode(path) for path in (folder.path, folder.path.parent, folder.place(ANN), folder.path / MARKER)}
    assert list(modes.values()) == [0o750, 0o750, 0o640, 0o640]
    folder.close()


@pytest.mark.parametrize(("asked", "mask", "file"), [(0o644, 0o022, 0o644), (0o640, 0o077, 0o600), (0o600, 0, 0o600)])
def test_the_mode_can_be_chosen_and_the_umask_has_its_say(
    tmp_path: Path, umask: Callable[[int], int], asked: int, mask: int, file: int
) -> None:
    umask(mask)
    folder = open_folder(tmp_path / "profiles", None, disk=LocalDisk(asked))
    folder.write({ANN: b"x"})
    assert (mode(folder.place(ANN)), mode(folder.path)) == (file, folder_mode(file))
    folder.close()


def test_the_option_is_the_mode() -> None:
    assert FileOptions(file_mode="0600").disk.file_mode == 0o600
    assert FileOptions().disk.file_mode == 0o640


@pytest.mark.parametrize("files", [1, 40])
def test_a_file_that_is_written_again_keeps_its_mode(
    folder: ProfileFolder, umask: Callable[[int], int], files: int
) -> None:
    umask(0o077)
    keys = [ProfileKey(user, "lions") for user in range(1, files + 1)]
    folder.write(dict.fromkeys(keys, b"one"))
    folder.place(ANN).chmod(0o664)
    folder.write(dict.fromkeys(keys, b"two"))
    assert {mode(folder.place(key)) for key in keys} == ({0o664, 0o600} if files > 1 else {0o664})
    staging = Staging(folder.path, "00face")
    name = folder.place(ANN).name
    staging.move([staging.prepare(Place(name, staging.current(name)[1]), b"three")])
    assert mode(folder.place(ANN)) == 0o664


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can give files away")
@pytest.mark.parametrize("files", [1, 40])
def test_what_root_writes_again_stays_its_owners(folder: ProfileFolder, files: int) -> None:
    """A drop of dead letters as root once left a file to which the daemon could not append."""
    keys = [ProfileKey(user, "lions") for user in range(1, files + 1)]
    folder.write(dict.fromkeys(keys, b"one"))
    os.chown(folder.place(ANN), 10001, 10002)
    folder.write(dict.fromkeys(keys, b"two"))
    lines = folder.path / "lines.jsonl"
    lines.write_bytes(b"one\ntwo\n")
    os.chown(lines, 10001, 10002)
    assert remove_lines(lines, lambda line: line == b"one\n") == 1
    for path in (folder.place(ANN), lines):
        assert (path.stat().st_uid, path.stat().st_gid) == (10001, 10002)

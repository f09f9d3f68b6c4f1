"""The folder of profile files: names, marker, whole files, and disks that fail."""

import errno
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.errors import OperatorError
from projections.profile_key import ProfileKey
from projections.store.protocol import Folder
from snapshot.files.atomic import replace
from snapshot.files.disk import LocalDisk
from snapshot.files.folder import ForeignFileError, NotDurableError, NotStartedError, ProfileFolder, open_folder
from snapshot.files.marker import MARKER, make_marker
from snapshot.files.ownership import file_name
from support.profile_files import profile_file

ANN, BEN, CEM = ProfileKey(1, "lions"), ProfileKey(2, "lions"), ProfileKey(3, "tigers")
KEPT = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
slugs = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[ProfileFolder]:
    found = open_folder(tmp_path / "profiles", None)
    yield found
    found.close()


def lying(folder: Path) -> dict[str, bytes]:
    """Everything that lies there but what the folder keeps for itself."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".signal-profiles")}


# ---------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("slug", "name"),
    [
        ("harvard-st_commons.2", "7-harvard-st_commons.2.json"),
        ("..", "7-%2E..json"),
        (".hidden", "7-%2Ehidden.json"),
        ("a/b\\c", "7-a%2Fb%5Cc.json"),
        ("~", "7-%7E.json"),
        ("ü ", "7-%C3%BC%20.json"),
        ("%2E", "7-%252E.json"),
        ("nul\0", "7-nul%00.json"),
        ("🦁", "7-%F0%9F%A6%81.json"),
    ],
)
def test_a_slug_is_percent_encoded(slug: str, name: str) -> None:
    assert file_name(ProfileKey(7, slug), None) == name
    assert file_name(ProfileKey(7, slug), slug) == "7.json"


@given(slugs)
def test_a_short_name_holds_the_slug_byte_by_byte(slug: str) -> None:
    expected = "".join(chr(byte) if chr(byte) in KEPT else f"%{byte:02X}" for byte in slug.encode())
    expected = f"%2E{expected[1:]}" if expected.startswith(".") else expected
    name = file_name(ProfileKey(7, slug), None)
    if len(expected) + len("7-.json") <= 200:
        assert name == f"7-{expected}.json"
    else:
        assert name.startswith(f"7-{expected[:100]}")


@given(st.integers(0, 2**63 - 1), slugs)
def test_a_name_stays_in_the_folder_and_is_no_temporary_file(user: int, slug: str) -> None:
    name = file_name(ProfileKey(user, slug), None)
    assert len(name.encode()) <= 200
    assert "/" not in name
    assert not name.startswith(".")
    assert name.endswith(".json")
    assert (Path("/folder") / name).resolve().parent == Path("/folder")


@given(st.integers(0, 200), st.integers(0, 200), slugs, slugs)
def test_no_two_profiles_have_one_name(one: int, other: int, slug: str, another: str) -> None:
    first, second = ProfileKey(one, slug), ProfileKey(other, another)
    assert (file_name(first, None) == file_name(second, None)) == (first == second)
    long, longer = ProfileKey(one, slug * 100), ProfileKey(one, slug * 101)
    assert file_name(long, None) != file_name(longer, None)


def test_no_slug_can_be_made_to_look_like_a_cut_one() -> None:
    cut = file_name(ProfileKey(7, "x" * 300), None)
    assert len(cut) == 200
    forged = ProfileKey(7, cut.removeprefix("7-").removesuffix(".json"))
    assert file_name(forged, None) != cut


# --------------------------------------------------------------------------------------------------------- marker


def test_a_folder_keeps_its_id(tmp_path: Path) -> None:
    first, second = open_folder(tmp_path / "a/b/c", "lions"), open_folder(tmp_path / "a/b/c", "lions")
    other = open_folder(tmp_path / "elsewhere", "lions")
    assert first.identity == second.identity
    assert first.identity.id != other.identity.id
    assert first.identity.group_slug == "lions"
    assert not (tmp_path / "a/b/c" / MARKER).name.endswith(".json")
    for one in (first, second, other):
        one.close()


@pytest.mark.parametrize(("before", "now"), [(None, "lions"), ("lions", None), ("lions", "tigers")])
def test_another_scope_is_refused(tmp_path: Path, before: str | None, now: str | None) -> None:
    open_folder(tmp_path, before).close()
    with pytest.raises(OperatorError, match="--output-dir") as caught:
        open_folder(tmp_path, now)
    assert all((slug or "all groups") in str(caught.value) for slug in (before, now))


@pytest.mark.parametrize("content", [b"{", b"{}", b'{"id": 1, "group_slug": null}', b"\xff", b"[1]"])
def test_a_damaged_marker_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MARKER).write_bytes(content)
    with pytest.raises(OperatorError, match="remove it"):
        open_folder(tmp_path, None)


def test_an_empty_marker_is_waited_for_and_then_taken_for_what_a_crash_left(tmp_path: Path) -> None:
    """It is empty for the moment between its making and its writing."""
    mine, pauses = Folder("17ab", "lions"), list[float]()
    (tmp_path / MARKER).touch()

    def written(_seconds: float) -> None:
        (tmp_path / MARKER).write_bytes(b'{"id":"2c","group_slug":null}')

    assert make_marker(tmp_path, mine, sleep=written) == Folder("2c", None)
    (tmp_path / MARKER).write_bytes(b"")
    assert make_marker(tmp_path, mine, sleep=pauses.append) == mine
    assert 1 <= sum(pauses) <= 5
    assert make_marker(tmp_path, Folder("2c", None), sleep=pauses.append) == mine


def test_of_many_threads_that_make_the_marker_at_once_one_wins(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for attempt in range(20):
            found = list(pool.map(lambda _, at=attempt: open_folder(tmp_path / str(at), None), range(8)))
            assert len({one.identity for one in found}) == 1
            assert lying(tmp_path / str(attempt)) == {}
            for one in found:
                one.close()


def test_of_two_processes_that_make_the_marker_at_once_one_wins(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from snapshot.files.folder import open_folder\n"
        "time.sleep(max(0, float(sys.argv[1]) - time.time()))\n"
        "for at in range(100):\n"
        "    found = open_folder(Path(sys.argv[2]) / str(at), None); print(found.identity.id); found.close()\n"
    )
    start = time.time() + 1.5
    command = [sys.executable, "-c", program, str(start), str(tmp_path)]
    two = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [one.communicate()[0].split() for one in two]
    assert [one.returncode for one in two] == [0, 0]
    assert len(said[0]) == 100
    assert said[0] == said[1]


def test_a_folder_that_was_removed_is_made_again_with_its_id(opened: ProfileFolder) -> None:
    opened.write({ANN: b"x"})
    for path in opened.path.iterdir():
        path.unlink()
    opened.path.rmdir()
    assert isinstance(opened.write({ANN: b"x"})[ANN], FileNotFoundError)
    opened.keep()
    assert opened.write({ANN: b"x"}) == {}
    again = open_folder(opened.path, None)
    assert again.identity == opened.identity
    again.close()


def test_a_folder_that_another_run_recreated_is_left_alone(opened: ProfileFolder) -> None:
    (opened.path / MARKER).unlink()
    open_folder(opened.path, None).close()
    with pytest.raises(OperatorError, match="start this one again"):
        opened.keep()


# ---------------------------------------------------------------------------------------------------------- files


def test_files_are_written_replaced_and_removed(opened: ProfileFolder) -> None:
    assert opened.write({ANN: b"one", BEN: profile_file(*BEN), CEM: None}) == {}
    assert lying(opened.path) == {"1-lions.json": b"one", "2-lions.json": profile_file(*BEN)}
    assert opened.write({ANN: b"three", BEN: None}) == {}
    assert lying(opened.path) == {"1-lions.json": b"three"}
    assert opened.read(ANN) == b"three"
    assert opened.read(BEN) is None
    assert list(opened.names()) == ["1-lions.json"]


def test_a_reader_never_meets_half_a_file(opened: ProfileFolder) -> None:
    contents = [bytes([letter]) * size for letter, size in ((65, 200_000), (66, 10), (67, 70_000))]
    opened.write({ANN: contents[0]})
    done = threading.Event()
    seen = set()

    def read() -> None:
        while not done.is_set():
            seen.add(opened.read(ANN))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(60):
        for content in contents:
            opened.write({ANN: content})
    done.set()
    reader.join()
    assert seen <= set(contents)


def test_one_file_that_fails_does_not_hold_the_others(opened: ProfileFolder) -> None:
    opened.place(BEN).mkdir()
    (opened.place(BEN) / "in the way").touch()
    errors = opened.write({ANN: b"one", BEN: b"two", CEM: b"three"})
    assert list(errors) == [BEN]
    assert isinstance(errors[BEN], IsADirectoryError)
    assert {path.name for path in opened.path.iterdir() if path.is_file()} == {MARKER, "1-lions.json", "3-tigers.json"}
    assert list(opened.write({BEN: None})) == [BEN]
    with pytest.raises(IsADirectoryError):
        opened.read(BEN)


def test_what_there_is_no_time_for_is_not_begun(opened: ProfileFolder) -> None:
    answers = iter([False, True, True])
    errors = opened.write({ANN: b"one"}, lambda: next(answers))
    assert errors == {}
    errors = opened.write({BEN: b"two", CEM: b"three"}, lambda: next(answers))
    assert {key: type(error) for key, error in errors.items()} == {BEN: NotStartedError, CEM: NotStartedError}
    assert lying(opened.path) == {"1-lions.json": b"one"}


def test_where_the_folder_itself_is_not_flushed_no_file_counts_as_safe(
    opened: ProfileFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = os.fsync

    def failing(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        flush(handle)

    monkeypatch.setattr(os, "fsync", failing)
    errors = opened.write({ANN: b"one", BEN: b"two"})
    assert {key: (type(error), error.strerror) for key, error in errors.items()} == {
        ANN: (NotDurableError, "Input/output error"),
        BEN: (NotDurableError, "Input/output error"),
    }
    assert lying(opened.path) == {"1-lions.json": b"one", "2-lions.json": b"two"}


MANY = [ProfileKey(number, "lions") for number in range(100, 140)]


def test_many_files_are_written_replaced_and_removed(opened: ProfileFolder) -> None:
    assert opened.write(dict.fromkeys(MANY, b"one")) == {}
    assert set(lying(opened.path).values()) == {b"one"}
    assert opened.write({**dict.fromkeys(MANY[:-2], b"two"), MANY[-2]: None, ANN: None}, noted=MANY) == {}
    assert sorted(lying(opened.path).values()) == [b"one", *[b"two"] * 38]
    assert not list(opened.path.glob("*.tmp"))


def test_of_many_files_one_that_fails_does_not_hold_the_others(opened: ProfileFolder) -> None:
    for key in MANY[:2]:
        opened.place(key).mkdir()
        (opened.place(key) / "in the way").touch()
    errors = opened.write({**dict.fromkeys(MANY, b"one"), MANY[1]: None})
    assert {key: type(error) for key, error in errors.items()} == {
        MANY[0]: IsADirectoryError,
        MANY[1]: ForeignFileError,
    }
    assert len(list(opened.path.glob("*.json"))) == len(MANY)
    assert not list(opened.path.glob(".*.tmp"))


def test_many_files_are_flushed_together_and_then_moved(opened: ProfileFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    flush = LocalDisk.flush_together

    def flush_together(disk: LocalDisk, folder: str, paths: Sequence[str]) -> None:
        seen.append(len(paths))
        assert not list(Path(folder).glob("*.json"))
        flush(disk, folder, paths)

    monkeypatch.setattr(LocalDisk, "flush_together", flush_together)
    opened.write(dict.fromkeys(MANY, b"one"))
    assert seen == [40]
    assert len(lying(opened.path)) == 40


def test_many_files_that_can_not_be_flushed_are_not_moved(
    opened: ProfileFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_disk: LocalDisk, _folder: str, _paths: Sequence[str]) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(LocalDisk, "flush_together", failing)
    errors = opened.write(dict.fromkeys(MANY, b"one"))
    assert {error.strerror for error in errors.values()} == {"Input/output error"}
    assert errors.keys() == set(MANY)
    assert {path.name for path in opened.path.iterdir()} == {MARKER}


def test_where_flushing_all_takes_too_long_it_is_done_one_by_one(opened: ProfileFolder) -> None:
    asked = 0

    def enough() -> bool:
        nonlocal asked
        asked += 1
        return asked > len(MANY)

    errors = opened.write(dict.fromkeys(MANY, b"one"), enough)
    assert {type(errors[key]) for key in MANY} == {NotStartedError}
    assert {path.name for path in opened.path.iterdir()} == {MARKER}
    asked = 0
    assert opened.write(dict.fromkeys(MANY, b"one"), enough) == {}
    assert len(lying(opened.path)) == 40


def test_every_file_and_then_the_folder_are_flushed(opened: ProfileFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    flush, flushed = os.fsync, []

    def read(handle: int) -> None:
        flushed.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        flush(handle)

    monkeypatch.setattr(os, "fsync", read)
    opened.write({ANN: b"one", BEN: b"two"})
    assert flushed == ["file", "file", "folder"]
    opened.write({ANN: None}, noted=[ANN])
    assert flushed[3:] == ["folder"]


def test_leftovers_of_a_crash_are_removed_after_an_hour_and_nothing_else(tmp_path: Path) -> None:
    names = (".0123456789abcdef.tmp", ".0123456789abcdee.tmp", "notes.tmp", ".vim.tmp", "1-lions.json")
    for name in names:
        (tmp_path / name).touch()
    young = tmp_path / names[1]
    now = young.stat().st_mtime
    for name in names:
        if name != young.name:
            os.utime(tmp_path / name, (now - 3700, now - 3700))
    open_folder(tmp_path, None, clock=lambda: now).close()
    assert set(lying(tmp_path)) == set(names) - {names[0]}


def test_leftovers_that_vanish_while_they_are_looked_at_are_no_error(tmp_path: Path) -> None:
    done = threading.Event()

    def churn() -> None:
        number = 0
        while not done.is_set():
            number += 1
            places = [tmp_path / f".{number * 50 + at:016x}.tmp" for at in range(50)]
            for place in places:
                place.touch()
            for place in places:
                place.unlink(missing_ok=True)

    other = threading.Thread(target=churn)
    other.start()
    try:
        for _ in range(300):
            open_folder(tmp_path, None, clock=lambda: time.time() + 7200).close()
    finally:
        done.set()
        other.join()


# ----------------------------------------------------------------------------------------- disks and their errors


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(OperatorError, match=f"{tmp_path}/file is a file.*SNAPSHOT_STORAGE_DIR"):
            open_folder(path, None)


def test_a_folder_that_became_a_file_fails_file_by_file(opened: ProfileFolder) -> None:
    (opened.path / MARKER).unlink()
    opened.path.rmdir()
    opened.path.touch()
    errors = opened.write({ANN: b"one", BEN: None})
    assert {key: type(error) for key, error in errors.items()} == {ANN: NotADirectoryError, BEN: NotADirectoryError}
    with pytest.raises(OSError, match="File exists"):
        opened.keep()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write(tmp_path: Path) -> None:
    open_folder(tmp_path, None).close()
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OperatorError, match="Permission denied"):
            open_folder(tmp_path, None)
    finally:
        tmp_path.chmod(0o700)


def test_a_file_that_grows_too_large_leaves_nothing_behind(tmp_path: Path) -> None:
    """A limit of the process stands in for a full disk: the write itself fails, in the middle."""
    place = tmp_path / "x"
    place.write_bytes(b"before")
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            replace(place, b"after" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert lying(tmp_path) == {"x": b"before"}


def test_a_marker_that_can_not_be_written_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OperatorError, match="No space left"):
        open_folder(tmp_path, None)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a file system of 64 kB; called again it is mounted again, with other options."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = []

    def mount(options: str = "size=64k") -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        if "remount" not in options:
            mounted.append(place)
        return place

    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    yield mount
    for one in mounted:
        subprocess.run(["umount", one], check=True)


def test_a_full_disk(small_disk: Callable[..., Path]) -> None:
    disk = small_disk()
    opened = open_folder(disk, None)
    opened.write({ANN: b"a" * 20_000})
    errors = opened.write({ANN: b"b" * 70_000, BEN: b"c" * 70_000})
    assert {error.errno for error in errors.values()} == {errno.ENOSPC}
    assert lying(disk) == {"1-lions.json": b"a" * 20_000}
    assert opened.write({ANN: b"d" * 20_000}) == {}
    opened.close()


def test_a_folder_on_a_disk_that_became_read_only(small_disk: Callable[..., Path]) -> None:
    opened = open_folder(small_disk(), None)
    opened.write({ANN: b"a"})
    small_disk("remount,ro")
    try:
        errors = opened.write({ANN: b"b", BEN: None})
        assert [error.errno for error in errors.values()] == [errno.EROFS, errno.EROFS]
        with pytest.raises(OperatorError, match="Read-only file system"):
            open_folder(opened.path, None)
        assert opened.read(ANN) == b"a"
    finally:
        small_disk("remount,rw")
        opened.close()


def test_the_marker_says_what_it_is_for(opened: ProfileFolder) -> None:
    assert json.loads((opened.path / MARKER).read_bytes()) == {"id": opened.identity.id, "group_slug": None}

"""Lines in one file: appended by several, taken out again, on file systems with and without locks."""

import errno
import fcntl
import os
import threading
from pathlib import Path

import pytest

from snapshot.announce.file import remove_user
from snapshot.files.jsonl import append_lines, remove_lines


def test_a_persons_lines_are_removed_and_the_torn_ones_too(tmp_path: Path) -> None:
    path = tmp_path / "changed.jsonl"
    others = [b'{"user_id":77,"group_slug":"x"}', b'{"user_id":1,"snapshot":{"user_id":7,']
    append_lines(path, [b'{"user_id":7,"group_slug":"x"}', others[0], b'{"user_id":7,"gro', others[1]])
    path.chmod(0o600)
    assert remove_user(path, 7) == 2
    assert path.read_bytes().splitlines() == others
    assert path.stat().st_mode & 0o777 == 0o600
    assert remove_user(path, 7) == 0
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert remove_user(tmp_path / "none.jsonl", 7) == 0


def test_no_line_is_lost_that_is_appended_while_others_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "changed.jsonl"
    append_lines(path, [b"first"])
    done = threading.Event()
    appended = 0

    def append() -> None:
        nonlocal appended
        while not done.is_set() or appended < 20:
            append_lines(path, [b"kept", b"gone"])
            appended += 1

    writer = threading.Thread(target=append)
    writer.start()
    removed = sum(remove_lines(path, lambda line: line == b"gone\n") for _ in range(20))
    done.set()
    writer.join()
    removed += remove_lines(path, lambda line: line == b"gone\n")
    assert removed == appended
    assert path.read_bytes().splitlines() == [b"first"] + [b"kept"] * appended


def test_where_nothing_can_be_locked_lines_are_appended_and_none_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(_file: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    path = tmp_path / "changed.jsonl"
    append_lines(path, [b"one"])
    append_lines(path, [b"two"])
    assert path.read_bytes() == b"one\ntwo\n"
    with pytest.raises(OSError, match="no locks: move the file"):
        remove_lines(path, lambda _: True)
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_lock_that_another_program_keeps_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that held the run log's lock once held `wb` at its end, and one of the announcements the flusher."""
    monkeypatch.setattr("snapshot.files.jsonl._LOCK_SECONDS", 0.1)
    path = tmp_path / "changed.jsonl"
    append_lines(path, [b"one"])
    with path.open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        for act in (lambda: append_lines(path, [b"two"]), lambda: remove_lines(path, lambda _: True)):
            with pytest.raises(OSError, match="is locked by another program"):
                act()
    append_lines(path, [b"three"])
    assert path.read_bytes() == b"one\nthree\n"


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_only_a_regular_file_is_appended_to(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "changed.jsonl", tmp_path / "other"
    other.write_bytes(b"theirs")
    if kind == "link":
        path.symlink_to(other)
    else:
        os.mkfifo(path)
    with pytest.raises(OSError, match=r"symbolic link|regular"):
        append_lines(path, [b"one"])
    assert other.read_bytes() == b"theirs"

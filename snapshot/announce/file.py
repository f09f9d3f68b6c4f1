"""Announcements in a file, where there is no Kafka."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from snapshot.announce.announcement import Announcement, parse, value_of
from snapshot.files.disk import FILE_MODE, open_regular
from snapshot.files.jsonl import append_lines, remove_lines

_CHUNK = 16 * 2**20


class FileAnnouncer:
    """Announces as JSON lines in one file; downstream can follow it, and several daemons may append to it."""

    def __init__(self, path: Path, file_mode: int = FILE_MODE) -> None:
        self._path = path
        self._file_mode = file_mode

    def announce(self, announcements: Sequence[Announcement]) -> list[Exception | None]:
        """Append all at once and flush them to the disk; for each None, or for all why that failed."""
        try:
            append_lines(self._path, [value_of(one) for one in announcements], self._file_mode)
        except OSError as error:
            return [error] * len(announcements)
        return [None] * len(announcements)

    def close(self) -> None:
        """No file stays open."""


def everything(path: Path) -> Iterator[Announcement]:
    """All that the file has, the oldest first. Raises OSError. A torn line is passed over."""
    with suppress(FileNotFoundError), os.fdopen(open_regular(str(path), os.O_RDONLY), "rb") as lines:
        yield from filter(None, (parse(None, line, {}) for line in lines))


def kept(path: Path, user_id: int) -> Iterator[Announcement]:
    """The first announcement in the file and all about a user, the oldest first. Raises OSError.

    A torn line is passed over.
    """
    with suppress(FileNotFoundError), os.fdopen(open_regular(str(path), os.O_RDONLY), "rb") as lines:
        first, mine = True, _about(user_id)
        for line in lines:
            if (first or line.startswith(mine)) and (one := parse(None, line, {})) is not None:
                first = False
                yield one


def latest(path: Path, most_bytes: int = 4 * 2**20) -> list[Announcement]:
    """The last ones in the file, as many as are whole in its last bytes, the oldest first. Raises OSError."""
    with suppress(FileNotFoundError), os.fdopen(open_regular(str(path), os.O_RDONLY), "rb") as file:
        offset = max(0, os.fstat(file.fileno()).st_size - most_bytes)
        file.seek(offset)
        lines = file.read(most_bytes).splitlines()[offset > 0 :]
        return [one for line in lines if (one := parse(None, line, {})) is not None]
    return []


def follow(path: Path) -> Iterator[Announcement | None]:
    """Those that are announced from now on, and None whenever there is none at present. Raises OSError.

    It goes on where the file is replaced (rotated, or a user was taken out of it), cut, or made only later.
    """
    place, offset = _stat(path)
    while True:
        now, size = _stat(path)
        if now != place or size < offset:
            place, offset = now, 0
        found = _whole_lines(path, offset)
        offset += len(found)
        yield from filter(None, (parse(None, line, {}) for line in found.splitlines()))
        yield None


def _whole_lines(path: Path, offset: int) -> bytes:
    """What was appended since, up to the end of its last line: the rest is still on its way."""
    try:
        with os.fdopen(open_regular(str(path), os.O_RDONLY), "rb") as file:
            file.seek(offset)
            found = file.read(_CHUNK)
    except FileNotFoundError:
        return b""
    return found[: found.rfind(b"\n") + 1]


def _stat(path: Path) -> tuple[int | None, int]:
    """Which file it is, and its size."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None, 0
    return found.st_ino, found.st_size


def remove_user(path: Path, user_id: int) -> int:
    """Take all announcements about a user out of the file, torn ones too; how many lines that were. Raises OSError."""
    mine = _about(user_id)
    return remove_lines(path, lambda line: line.startswith(mine))


def _about(user_id: int) -> bytes:
    """How a line about this user begins."""
    return b'{"user_id":%d,' % user_id

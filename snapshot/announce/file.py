"""Announcements in a file, where there is no Kafka."""

from collections.abc import Sequence
from pathlib import Path

from snapshot.announce.announcement import Announcement, value_of
from snapshot.files.disk import FILE_MODE
from snapshot.files.jsonl import append_lines, remove_lines


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


def remove_user(path: Path, user_id: int) -> int:
    """Take all announcements about a user out of the file, torn ones too; how many lines that were. Raises OSError."""
    return remove_lines(path, lambda line: line.startswith(b'{"user_id":%d,' % user_id))

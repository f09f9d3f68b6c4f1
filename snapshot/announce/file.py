"""Announcements in a file, where there is no Kafka."""

from collections.abc import Sequence
from pathlib import Path

from snapshot.announce.announcement import Announcement, value_of
from snapshot.files.jsonl import append_lines


class FileAnnouncer:
    """Announces as JSON lines in one file; downstream can follow it, and several daemons may append to it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def announce(self, announcements: Sequence[Announcement]) -> list[Exception | None]:
        """Append all at once and flush them to the disk; for each None, or for all why that failed."""
        try:
            append_lines(self._path, [value_of(one) for one in announcements])
        except OSError as error:
            return [error] * len(announcements)
        return [None] * len(announcements)

    def close(self) -> None:
        """Nothing is held open."""

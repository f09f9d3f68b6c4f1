"""Many files at once: each is prepared beside its place, all are flushed to the disk together, then moved.

Until they are moved nothing has changed, so a run can still think better of it; a crash leaves temporary files, which
the folder's next user sweeps away. One flush of the file system costs a small part of thousands of single ones.
"""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from snapshot.files.disk import LOCAL, Disk, open_regular, read_all

Stamp = tuple[int, int, int] | None
"""What tells one state of a file from another: inode, time of change in ns, size; None where there is no file."""


class Place(NamedTuple):
    """A file's name, and the state in which it was seen."""

    name: str
    seen: Stamp


class Prepared(NamedTuple):
    """A file for a place, and the name under which it waits."""

    place: Place
    waiting: str


class Moved(NamedTuple):
    """How many files came to their places, how many were removed, and how many others had changed meanwhile."""

    written: int
    removed: int
    left: int


class Staging:
    """Files to be: `prepare` them, in several processes if need be, then `move` or `abandon` them all.

    `token`: six hex digits that no other run has. Everything raises OSError.
    """

    def __init__(self, folder: Path, token: str, disk: Disk = LOCAL) -> None:
        self._folder = str(folder)
        self._token = token
        self._disk = disk
        self._numbers = itertools.count()

    def current(self, name: str) -> tuple[bytes | None, Stamp]:
        """What lies there under a name (empty where that is no regular file that can be read), and its state."""
        path = f"{self._folder}/{name}"
        try:
            handle = open_regular(path, os.O_RDONLY)
            try:
                return read_all(handle, path), _stamp(handle)
            finally:
                os.close(handle)
        except OSError:
            stamp = _stamp(path)
            return None if stamp is None else b"", stamp

    def prepare(self, place: Place, content: bytes) -> Prepared:
        """Write a file beside its place."""
        # Of the form that `snapshot.files.atomic` sweeps away; a process that was forked counts for itself.
        waiting = f".{self._token}{os.getpid() & 0xFFFF:04x}{next(self._numbers):06x}.tmp"
        self._disk.write_new(f"{self._folder}/{waiting}", content, like=f"{self._folder}/{place.name}")
        return Prepared(place, waiting)

    def move(self, files: Sequence[Prepared], removed: Sequence[Place] = ()) -> Moved:
        """Flush all prepared files and move them to their places; remove others.

        A file that is no longer as it was seen is left alone: whoever wrote it meanwhile had read the database later.
        One that can't be moved (a folder is in its place, its name is too long here) doesn't hold the others: its error
        comes after them.
        """
        self._disk.flush_together(self._folder, [f"{self._folder}/{waiting}" for _, waiting in files])
        errors: list[OSError] = []
        left = [waiting for place, waiting in files if not self._replace(place, waiting, errors)]
        for waiting in left:
            os.unlink(f"{self._folder}/{waiting}")  # noqa: PTH108 - see `current`
        ended = sum(self._unlink(place) for place in removed)
        self._disk.flush(self._folder)
        if errors:
            raise errors[0]
        return Moved(len(files) - len(left), ended, len(left) + len(removed) - ended)

    def abandon(self) -> None:
        """Remove all that was prepared and not moved."""
        for name in os.listdir(self._folder):  # noqa: PTH208 - see `current`
            if name.startswith(f".{self._token}"):
                os.unlink(f"{self._folder}/{name}")  # noqa: PTH108 - see `current`

    def _replace(self, place: Place, waiting: str, errors: list[OSError]) -> bool:
        target = f"{self._folder}/{place.name}"
        try:
            if self._as_seen(place):
                os.replace(f"{self._folder}/{waiting}", target)  # noqa: PTH105 - see `current`
                return True
        except OSError as error:
            errors.append(OSError(error.errno, error.strerror, target))
        return False

    def _unlink(self, place: Place) -> bool:
        if self._as_seen(place):
            os.unlink(f"{self._folder}/{place.name}")  # noqa: PTH108 - see `current`
            return True
        return False

    def _as_seen(self, place: Place) -> bool:
        return _stamp(f"{self._folder}/{place.name}") == place.seen


def _stamp(file: str | int) -> Stamp:
    """The state of an open file, or of what lies under a path, links not followed."""
    try:
        found = os.fstat(file) if isinstance(file, int) else os.lstat(file)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size

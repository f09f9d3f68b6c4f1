"""Many files at once: each is prepared beside its place, all are flushed to the disk together, then moved.

Until they are moved nothing has changed, so a run can still think better of it; a crash leaves temporary files, which
the folder's next user sweeps away. One flush of the file system costs a small part of thousands of single ones.
"""

import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

_TEMPORARY = ".tmp"
"""The ending that `snapshot.folder` sweeps away."""
_FEW = 32
"""So many files are flushed one by one: flushing the file system flushes what others wrote there as well."""

Stamp = tuple[int, int] | None
"""What tells one state of a file from another: inode and time of change in ns; None where there is no file."""


class Place(NamedTuple):
    """A file's name, and the state in which it was seen."""

    name: str
    seen: Stamp


class Staging:
    """Files to be: `prepare` them, in several processes if need be, then `move` or `abandon` them all.

    Everything raises OSError.
    """

    def __init__(self, folder: Path, token: str) -> None:
        self._folder = str(folder)
        self._ending = f".{token}{_TEMPORARY}"

    def current(self, name: str) -> tuple[bytes | None, Stamp]:
        """What lies there under a name, and its state."""
        try:
            with open(f"{self._folder}/{name}", "rb") as file:  # noqa: PTH123 - pathlib takes twice as long
                stat = os.fstat(file.fileno())
                return file.read(), (stat.st_ino, stat.st_mtime_ns)
        except FileNotFoundError:
            return None, None

    def prepare(self, name: str, content: bytes) -> None:
        """Write a file beside its place."""
        handle = os.open(self._beside(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(handle, left) :]
        finally:
            os.close(handle)

    def move(self, prepared: Sequence[Place], removed: Sequence[Place] = ()) -> int:
        """Flush all prepared files and move them to their places; remove others. How many places were left alone.

        That is where a file is no longer as it was seen: whoever wrote there meanwhile knew later things.
        """
        self._flush([self._beside(place.name) for place in prepared])
        left = [place for place in prepared if not self._change(place, self._replace)]
        for place in left:
            os.unlink(self._beside(place.name))  # noqa: PTH108 - see `current`
        left += [place for place in removed if not self._change(place, self._unlink)]
        _flush_one(self._folder)
        return len(left)

    def abandon(self) -> None:
        """Remove all that was prepared and not moved."""
        for name in os.listdir(self._folder):  # noqa: PTH208 - see `current`
            if name.endswith(self._ending):
                os.unlink(f"{self._folder}/{name}")  # noqa: PTH108 - see `current`

    def _beside(self, name: str) -> str:
        return f"{self._folder}/.{name}{self._ending}"

    def _change(self, place: Place, how: Callable[[str], None]) -> bool:
        try:
            stat = os.stat(f"{self._folder}/{place.name}")  # noqa: PTH116 - see `current`
            now: Stamp = (stat.st_ino, stat.st_mtime_ns)
        except FileNotFoundError:
            now = None
        if now != place.seen:
            return False
        how(place.name)
        return True

    def _replace(self, name: str) -> None:
        os.replace(self._beside(name), f"{self._folder}/{name}")  # noqa: PTH105 - see `current`

    def _unlink(self, name: str) -> None:
        os.unlink(f"{self._folder}/{name}")  # noqa: PTH108 - see `current`

    def _flush(self, paths: Sequence[str]) -> None:
        if len(paths) > _FEW and _flush_file_system(self._folder):
            return
        for path in paths:
            _flush_one(path)


def _flush_file_system(folder: str) -> bool:
    """Flush the whole file system on which a folder lies; False where this system can't."""
    sync = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)  # Linux has it, macOS doesn't
    if sync is None:
        return False
    handle = os.open(folder, os.O_RDONLY)
    try:
        return bool(sync(handle) == 0)
    finally:
        os.close(handle)


def _flush_one(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Files that outlive a power cut: written, and flushed to the disk one by one or many together.

The module itself is a `Disk`: what a folder calls, and what a simulation puts in its place.
"""

import ctypes
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

FEW = 32
"""So many files are flushed one by one: flushing the file system flushes what others wrote there as well."""

_SYNC = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
CAN_FLUSH_ALL = _SYNC is not None
"""Linux can flush a whole file system, macOS can't."""

_CHUNK = 65_536


class Disk(Protocol):
    """Where folders lie. Everything but `move` raises OSError."""

    FEW: int
    CAN_FLUSH_ALL: bool

    def read(self, path: str) -> bytes: ...
    def write_new(self, path: str, content: bytes) -> None: ...
    def move(self, path: str | None, place: str) -> OSError | None: ...
    def replace(self, path: str, place: str) -> None: ...
    def link(self, path: str, place: str) -> None: ...
    def remove(self, path: str) -> None: ...
    def make_folder(self, path: str, *, parents: bool = False) -> None: ...
    def names(self, folder: str) -> Iterator[str]: ...
    def is_file(self, path: str) -> bool: ...
    def exists(self, path: str) -> bool: ...
    def modified(self, path: str) -> float: ...
    def flush(self, path: str) -> None: ...
    def flush_together(self, folder: str, paths: Sequence[str]) -> None: ...
    def token(self) -> str: ...


def token() -> str:
    """Sixteen hex digits that nobody else has, for the name of a temporary file or a folder's id."""
    return secrets.token_hex(8)


def read(path: str) -> bytes:
    """Read a small file: Python's own files take twice as long. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = b""
        while chunk := os.read(handle, _CHUNK):
            content += chunk
        return content
    finally:
        os.close(handle)


def write_new(path: str, content: bytes) -> None:
    """Write a file that must not be there yet; not flushed. Raises OSError, and then leaves no file."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(handle, left) :]
    except BaseException:
        os.unlink(path)  # noqa: PTH108 - pathlib takes twice as long
        raise
    finally:
        os.close(handle)


def move(path: str | None, place: str) -> OSError | None:
    """Move a temporary file to its place; None: remove what lies there. Gives the error of what failed."""
    try:
        if path is None:
            with suppress(FileNotFoundError):
                os.unlink(place)  # noqa: PTH108 - pathlib takes twice as long
        else:
            try:
                os.replace(path, place)  # noqa: PTH105 - as above
            except OSError:
                os.unlink(path)  # noqa: PTH108 - as above
                raise
    except OSError as error:
        return error
    return None


def replace(path: str, place: str) -> None:
    """Move a file over whatever file lies there."""
    os.replace(path, place)  # noqa: PTH105 - pathlib takes twice as long


def link(path: str, place: str) -> None:
    """Give a file a second name; raises FileExistsError where the name is taken."""
    os.link(path, place)


def remove(path: str) -> None:
    """Remove a file, if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - as above


def make_folder(path: str, *, parents: bool = False) -> None:
    """Make a folder, if it is not there."""
    Path(path).mkdir(parents=parents, exist_ok=True)


def names(folder: str) -> Iterator[str]:
    """Give the names of all that lies in a folder, in no order: there may be a million."""
    with os.scandir(folder) as entries:
        yield from (entry.name for entry in entries)


def is_file(path: str) -> bool:
    """Whether a file lies there."""
    return Path(path).is_file()


def exists(path: str) -> bool:
    """Whether anything lies there."""
    return Path(path).exists()


def modified(path: str) -> float:
    """Give the time of a file's last change, in seconds since 1970."""
    return Path(path).stat().st_mtime


def flush(path: str) -> None:
    """Flush a file, or the names in a folder. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_together(folder: str, paths: Sequence[str]) -> None:
    """Flush files of one folder; many at once where the system can: that costs a small part of so many single ones.

    Raises OSError.
    """
    if len(paths) > FEW and _flush_file_system(folder):
        return
    for path in paths:
        flush(path)


def _flush_file_system(folder: str) -> bool:
    """Flush the whole file system on which a folder lies; False where this system can't."""
    if _SYNC is None:
        return False
    handle = os.open(folder, os.O_RDONLY)
    try:
        return bool(_SYNC(handle) == 0)
    finally:
        os.close(handle)

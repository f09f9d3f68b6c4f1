"""Files that outlive a power cut: written, and flushed to the disk one by one or many together."""

import ctypes
import os
from collections.abc import Sequence
from contextlib import suppress

FEW = 32
"""So many files are flushed one by one: flushing the file system flushes what others wrote there as well."""

_SYNC = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
CAN_FLUSH_ALL = _SYNC is not None
"""Linux can flush a whole file system, macOS can't."""

_CHUNK = 65_536


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

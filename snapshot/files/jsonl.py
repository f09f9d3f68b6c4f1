"""Lines of JSON that several processes append to one file."""

import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from snapshot.files import disk


def append_lines(path: Path, lines: Sequence[bytes]) -> None:
    """Append lines (without their ends) in one write, whole even where others append too, and flush to the disk.

    Begins with a line's end where the file's last line is torn, by a crash in the middle of a write. Raises OSError;
    the file is then as it was.
    """
    if not lines:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = os.fstat(file).st_size
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        _write_all(file, size, b"\n" * torn + b"\n".join(lines) + b"\n")
        os.fsync(file)
    finally:
        os.close(file)  # and the lock goes with it
    if size == 0:
        disk.flush(str(path.parent))  # a new file's name is to be safe too


def _write_all(file: int, size: int, data: bytes) -> None:
    if os.write(file, data) < len(data):  # a full disk takes a part
        os.ftruncate(file, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

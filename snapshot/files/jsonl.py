"""Lines of JSON that several processes append to one file, and that can be taken out of it again."""

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from snapshot.files.disk import FILE_MODE, LOCAL, keep_mode, make_folders, open_regular, sync

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
"""What file systems answer that can't lock: some of other machines, some of virtual ones."""
_TRIALS = 10
_LOCK_SECONDS = 3.0
"""Under a third of the flusher's lease, as for Kafka's acknowledgement."""
_PAUSE = 0.002


def append_lines(path: Path, lines: Sequence[bytes], file_mode: int = FILE_MODE) -> None:
    """Append lines (without their ends) in one write, whole even where others append too, and flush to the disk.

    Begins with a line's end where the file's last line is torn, by a crash in the middle of a write. Raises OSError;
    the file is then as it was.
    """
    if not lines:
        return
    make_folders(str(path.parent), file_mode)
    with _opened(path, file_mode) as (file, locked):
        size = os.fstat(file).st_size
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        data = b"\n" * torn + b"\n".join(lines) + b"\n"
        if os.write(file, data) < len(data):  # a full disk takes a part
            if locked:  # else others may have appended behind it
                os.ftruncate(file, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(file)
    if size == 0:
        LOCAL.flush(str(path.parent))  # a new file's name is to be safe too


def remove_lines(path: Path, unwanted: Callable[[bytes], bool]) -> int:
    """Write the file again without the unwanted lines; how many those were.

    No other line is lost: who appends meanwhile waits, and then appends to the new file. Raises OSError; the file is
    then as it was.
    """
    if not path.exists():
        return 0
    with _opened(path, FILE_MODE) as (file, locked):
        if not locked:
            why = "its file system has no locks: move the file to one that has, or stop all writers and edit it"
            raise OSError(errno.ENOLCK, why, str(path))
        rest = f"{path.parent}/.{path.name}.tmp"  # always the same, so that what a crash leaves is overwritten
        LOCAL.remove(rest)
        try:
            removed = _copy(file, str(path), rest, unwanted)
            if removed:
                LOCAL.replace(rest, str(path))
                LOCAL.flush(str(path.parent))
        finally:
            LOCAL.remove(rest)
    return removed


def _copy(file: int, path: str, rest: str, unwanted: Callable[[bytes], bool]) -> int:
    removed = 0
    handle = os.open(rest, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as kept, os.fdopen(file, "rb", closefd=False) as lines:
        keep_mode(handle, path)
        for line in lines:
            if unwanted(line):
                removed += 1
            else:
                kept.write(line)
        kept.flush()
        sync(handle)
    return removed


@contextmanager
def _opened(path: Path, file_mode: int) -> Iterator[tuple[int, bool]]:
    """Open the file for the only one who writes to it; and whether this is so, or its file system has no locks."""
    for trial in range(_TRIALS):
        file = open_regular(str(path), os.O_RDWR | os.O_APPEND | os.O_CREAT, file_mode)
        try:
            locked = _lock(file, path)
            # Another file lies there where `remove_lines` replaced it while we waited.
            if trial == _TRIALS - 1 or _lies_at(path, file):
                yield file, locked
                return
        finally:
            os.close(file)  # and the lock goes with it


def _lock(file: int, path: Path) -> bool:
    """Wait for the lock, but not for ever: whoever may read the file can hold it."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise OSError(errno.EAGAIN, "is locked by another program", str(path)) from error
            time.sleep(_PAUSE)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return False
        else:
            return True


def _lies_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(file))
    except FileNotFoundError:
        return False

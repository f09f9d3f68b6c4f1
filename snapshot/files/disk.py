"""Files that outlive a power cut, on whatever file system there is: written, and flushed one by one or many together.

What is read may have been put there by anybody: links are not followed, and only regular files of a bounded size are
read. A file system that can't flush folders, or keeps no modes, is used all the same.
"""

import ctypes
import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

FILE_MODE = 0o640
"""The mode of new files, less what the umask takes away. A file that is written again keeps the mode that it has."""
LARGEST = 64 * 2**20
"""No file of ours is larger, in bytes, but those of JSON lines."""

_CHUNK = 65_536
_SYNC = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
_NOT_SUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}
"""What file systems of other machines and of cameras answer to a flush that they don't know."""


class Disk(Protocol):
    """Where folders lie. Everything but `move` raises OSError."""

    FEW: int
    CAN_FLUSH_ALL: bool

    def read(self, path: str) -> bytes: ...
    def write_new(self, path: str, content: bytes, *, like: str | None = None) -> None: ...
    def move(self, path: str | None, place: str) -> OSError | None: ...
    def replace(self, path: str, place: str) -> None: ...
    def remove(self, path: str) -> None: ...
    def make_folder(self, path: str, *, parents: bool = False) -> None: ...
    def names(self, folder: str) -> Iterator[str]: ...
    def is_file(self, path: str) -> bool: ...
    def is_folder(self, path: str) -> bool: ...
    def exists(self, path: str) -> bool: ...
    def modified(self, path: str) -> float: ...
    def flush(self, path: str) -> None: ...
    def flush_together(self, folder: str, paths: Sequence[str]) -> None: ...
    def token(self) -> str: ...


def open_regular(path: str, flags: int, mode: int = 0) -> int:
    """Open a file as `os.open` does, but only a regular one: no link, and nothing on which opening or reading waits.

    Raises OSError.
    """
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "is a symbolic link, which is not followed", path) from error
        raise
    kind = os.fstat(handle).st_mode
    if stat.S_ISREG(kind):
        return handle
    os.close(handle)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, "is not a regular file", path)


def read_all(handle: int, path: str) -> bytes:
    """Read the whole of an open file. Raises OSError where it is too large to be one of ours."""
    content = bytearray()
    while len(content) <= LARGEST and os.fstat(handle).st_size <= LARGEST:
        chunk = os.read(handle, _CHUNK)
        if not chunk:
            return bytes(content)
        content += chunk
    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)


def sync(handle: int) -> None:
    """Flush an open file or folder, as well as its file system can. Raises OSError."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise


def _kind(path: str) -> int:
    try:
        return os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def keep_mode(handle: int, like: str) -> None:
    """Give a new file the mode and, as far as we may, the owner and the group of the one that it will replace."""
    with suppress(OSError):  # nothing is replaced, or the file system keeps no modes
        before, now = os.lstat(like), os.fstat(handle)
        if stat.S_ISREG(before.st_mode):
            if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
                with suppress(PermissionError):
                    os.fchown(handle, before.st_uid, before.st_gid)
            os.fchmod(handle, stat.S_IMODE(before.st_mode))


def make_folders(path: str, file_mode: int = FILE_MODE) -> None:
    """Make a folder and those above it, where they are not there. Raises OSError."""
    for folder in (*reversed(Path(path).parents), Path(path)):
        if not folder.is_dir():
            folder.mkdir(folder_mode(file_mode), exist_ok=True)


def folder_mode(file_mode: int) -> int:
    """Whoever may read a file may enter its folder.

    >>> oct(folder_mode(0o640))
    '0o750'
    """
    return file_mode | (file_mode & 0o444) >> 2


class LocalDisk:
    """A disk of this machine. `file_mode` is the mode of new files; folders get the like."""

    FEW = 32
    """So many files are flushed one by one: flushing the file system flushes what others wrote there as well."""
    CAN_FLUSH_ALL = _SYNC is not None
    """Linux can flush a whole file system, macOS can't."""

    def __init__(self, file_mode: int = FILE_MODE) -> None:
        self.file_mode = file_mode

    def token(self) -> str:
        """Sixteen hex digits that no other process has, for the name of a temporary file or a folder's id."""
        return secrets.token_hex(8)

    def read(self, path: str) -> bytes:
        """Read a small regular file: Python's own files take twice as long."""
        handle = open_regular(path, os.O_RDONLY)
        try:
            return read_all(handle, path)
        finally:
            os.close(handle)

    def write_new(self, path: str, content: bytes, *, like: str | None = None) -> None:
        """Write a file that must not be there yet, not flushed; a failure leaves no file.

        It gets the mode of the file `like`, where there is one.
        """
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, self.file_mode)
        try:
            if like is not None:
                keep_mode(handle, like)
            left = memoryview(content)
            while left:
                left = left[os.write(handle, left) :]
        except BaseException:
            os.unlink(path)  # noqa: PTH108 - pathlib takes twice as long
            raise
        finally:
            os.close(handle)

    def move(self, path: str | None, place: str) -> OSError | None:
        """Move a temporary file to its place; None: remove what lies there. Gives the error of what failed."""
        try:
            if path is None:
                self.remove(place)
            else:
                try:
                    self.replace(path, place)
                except OSError:
                    self.remove(path)
                    raise
        except OSError as error:
            return error
        return None

    def replace(self, path: str, place: str) -> None:
        """Move a file over whatever lies there, but a folder."""
        os.replace(path, place)  # noqa: PTH105 - pathlib takes twice as long

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - as above

    def make_folder(self, path: str, *, parents: bool = False) -> None:
        """Make a folder, if it is not there; without `parents`, one of ours: a link to a folder is none."""
        if parents:
            make_folders(path, self.file_mode)
            return
        with suppress(FileExistsError):
            os.mkdir(path, folder_mode(self.file_mode))  # noqa: PTH102 - pathlib takes twice as long
        if not self.is_folder(path):
            raise NotADirectoryError(errno.ENOTDIR, f"{path} is a link or a file, not a folder: remove it")

    def names(self, folder: str) -> Iterator[str]:
        """Give the names of all that lies in a folder, in no order: there may be a million."""
        with os.scandir(folder) as entries:
            yield from (entry.name for entry in entries)

    def is_file(self, path: str) -> bool:
        """Whether a regular file lies there: no link."""
        return stat.S_ISREG(_kind(path))

    def is_folder(self, path: str) -> bool:
        """Whether a folder lies there: no link to one."""
        return stat.S_ISDIR(_kind(path))

    def exists(self, path: str) -> bool:
        """Whether anything lies there, be it a link to nothing."""
        return os.path.lexists(path)

    def modified(self, path: str) -> float:
        """Give the time of a file's last change, in seconds since 1970."""
        return os.lstat(path).st_mtime

    def flush(self, path: str) -> None:
        """Flush a file, or the names in a folder; see `sync`."""
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            sync(handle)
        finally:
            os.close(handle)

    def flush_together(self, folder: str, paths: Sequence[str]) -> None:
        """Flush files of one folder: many at once where the system can, at a small part of the cost."""
        if len(paths) > self.FEW and self._flush_file_system(folder):
            return
        for path in paths:
            self.flush(path)

    def _flush_file_system(self, folder: str) -> bool:
        """Flush the whole file system on which a folder lies; False where this system can't."""
        if _SYNC is None:
            return False
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return bool(_SYNC(handle) == 0)
        finally:
            os.close(handle)


LOCAL = LocalDisk()
"""The disk where nothing else is asked for."""

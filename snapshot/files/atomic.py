"""Files that are whole or not there: written beside their place under a temporary name, flushed, and moved."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from snapshot.files.disk import LOCAL, Disk

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")
_STALE_SECONDS = 3600.0


def replace(place: Path, content: bytes, *, beside: Path | None = None, flush: bool = True, disk: Disk = LOCAL) -> None:
    """Write a file whole or not at all, and flush it to the disk. The folder's own flush is left to the caller.

    `beside`: the folder for the temporary file, which is swept if a crash leaves it there; else the file's own.
    """
    temporary = write_temporary(beside or place.parent, content, disk, like=place, flush=flush)
    try:
        disk.replace(temporary, str(place))
    except BaseException:
        disk.remove(temporary)
        raise


def write_temporary(folder: Path, content: bytes, disk: Disk, *, like: Path | None = None, flush: bool = True) -> str:
    """Write a new temporary file in that folder, with the mode of the file that it is to replace; its path."""
    temporary = f"{folder}/.{disk.token()}.tmp"
    disk.write_new(temporary, content, like=None if like is None else str(like))
    try:
        if flush:
            disk.flush(temporary)
    except BaseException:
        disk.remove(temporary)
        raise
    return temporary


def sweep(folder: Path, now: float, disk: Disk) -> None:
    """Remove temporary files of ours that a crash left behind."""
    for path in temporaries(folder, disk):
        with suppress(OSError):  # another process' that just took its place; or a folder of that name
            if now - disk.modified(path) > _STALE_SECONDS:
                disk.remove(path)


def temporaries(folder: Path, disk: Disk) -> Iterator[str]:
    """Give the paths of all temporary files. Raises OSError."""
    return (f"{folder}/{name}" for name in disk.names(str(folder)) if _TEMPORARY.fullmatch(name))

"""The signs of life in a storage folder: which of this host's are of processes that run, and which were left behind."""

import os
import re
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def alive_file(storage: Path, given: Path | None) -> Path:
    """The file that was given (SNAPSHOT_ALIVE_FILE), else one in the storage folder that no other process has."""
    return given or storage / f"{_prefix()}{os.getpid()}"


def running(storage: Path) -> list[Path]:
    """Those whose process runs on this host. Raises OSError where the folder can't be read."""
    return [file for file, runs in _of_this_host(storage) if runs]


def remove_left(storage: Path) -> None:
    """Remove those of this host's processes that were killed."""
    with suppress(OSError):
        for file, runs in _of_this_host(storage):
            if not runs:
                remove(file)


def remove(file: Path) -> None:
    """Remove a sign of life; ours is empty, what is not is another program's."""
    with suppress(OSError):
        found = file.lstat()
        if stat.S_ISREG(found.st_mode) and not found.st_size:
            file.unlink()


def _prefix() -> str:
    return f"alive-{socket.gethostname()}-"


def _of_this_host(storage: Path) -> Iterator[tuple[Path, bool]]:
    prefix = _prefix()
    for file in sorted(storage.iterdir()):
        if file.name.startswith(prefix) and re.fullmatch("[1-9][0-9]*", number := file.name.removeprefix(prefix)):
            yield file, _runs(int(number), file)


def _runs(pid: int, file: Path) -> bool:
    """Whether the process that touched the file runs: its number may be another's by now, that began later."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    try:
        touched = file.stat().st_mtime
    except FileNotFoundError:  # it has just ended
        return False
    started = _started_at(pid)
    return started is None or started <= touched


def _started_at(pid: int) -> float | None:
    """When a process began, in seconds since 1970 by the present clock, a zombie never; None: unknown."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
        ticks = int(fields[18])
    except (OSError, ValueError, IndexError):  # no Linux, or others' processes are hidden
        return None
    if state == b"Z":
        return float("inf")
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age

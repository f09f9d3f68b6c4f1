"""Whether a process of ours on this host is alive, by its own file alone: for probes.

An outage of Redis or Kafka is no reason to restart anything, so nothing else is asked.
"""

import os
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

MOST_SECONDS = 30.0


class Health(msgspec.Struct, frozen=True):
    """Whether all gave a sign of life, and one line that says why."""

    alive: bool
    said: str


def health(storage: Path, given: Path | None, now: Callable[[], float] = time.time) -> Health:
    """Look at the sign of life that was given; else at those of all processes that run here with this storage."""
    files = [given] if given else list(_of_running(storage))
    if not files:
        return Health(alive=False, said=f"no process of ours runs on this host with the storage folder {storage}")
    for file in files:
        try:
            age = now() - file.stat().st_mtime
        except OSError as error:
            return Health(alive=False, said=f"no sign of life: {file}: {error.strerror}")
        if abs(age) > MOST_SECONDS:
            return Health(alive=False, said=f"the last sign of life was {age:.0f} s ago: {file}")
    return Health(alive=True, said=f"alive: {', '.join(map(str, files))}")


def _of_running(storage: Path) -> Iterable[Path]:
    """Those whose process still runs; a process that was killed leaves its file."""
    prefix = f"alive-{socket.gethostname()}-"
    for file in sorted(storage.glob("alive-*")):
        number = file.name.removeprefix(prefix)
        if file.name.startswith(prefix) and number.isdigit() and _runs(int(number)):
            yield file


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True

"""Whether a process of ours on this host is alive, by its own file alone: for probes.

An outage of Redis or Kafka is no reason to restart anything, so nothing else is asked.
"""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from consumer.process import alive_files

MOST_SECONDS = 30.0
_FIX = "ask as the user whom the daemon runs as, or correct the path"


class Health(msgspec.Struct, frozen=True):
    """Whether all gave a sign of life, and one line that says why."""

    alive: bool
    said: str


def health(storage: Path, given: Path | None, now: Callable[[], float] = time.time) -> Health:
    """Look at the sign of life that was given; else at those of all processes that run here with this storage."""
    try:
        files = [given] if given else alive_files.running(storage)
    except FileNotFoundError:
        files = []
    except OSError as error:
        return Health(alive=False, said=f"the storage folder {storage} can't be read ({error.strerror}); {_FIX}")
    if not files:
        return Health(alive=False, said=f"no process of ours runs on this host with the storage folder {storage}")
    for file in files:
        try:
            age = now() - file.stat().st_mtime
        except FileNotFoundError as error:
            return Health(alive=False, said=f"no sign of life: {file}: {error.strerror}")
        except OSError as error:
            return Health(alive=False, said=f"no sign of life can be read: {file}: {error.strerror}; {_FIX}")
        if abs(age) > MOST_SECONDS:
            return Health(alive=False, said=f"the last sign of life was {age:.0f} s ago: {file}")
    return Health(alive=True, said=f"alive: {', '.join(map(str, files))}")

"""A full read: `wb --all` and `snapshot-rebuild --all`, beside a plain scan and fold of the same rows.

The baseline has no pages, no memory limit and no flush to the disk. CPU is that of all processes of a command and of
the Redis that a rebuild compares with, whose append-only file is on.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from operator import methodcaller
from pathlib import Path

from benchmarks import stand, whiteballoon
from benchmarks.results import Figures
from benchmarks.stand import Cost, Servers
from benchmarks.whiteballoon import Shape

FOLD, FILES = "scan, fold", "scan, fold, files"
EMPTY, IN_STEP = "rebuild into an empty store", "rebuild in step"
PROCESSES = (1, 2)


class FullRead:
    """The databases, and one Redis that a rebuild fills and the next one is in step with."""

    def __init__(self, work: Path, shape: Shape) -> None:
        self._work = work
        self._databases = whiteballoon.create(shape)
        self._env = {**os.environ, **whiteballoon.urls(self._databases), "SNAPSHOT_STORAGE_DIR": str(work / "storage")}
        self._right = work / "right"
        self._rebuilds: dict[str, Figures] = {}
        self._plain(self._right)

    def baseline(self, processes: int, *, files: bool) -> Figures:
        """See `benchmarks.programs.plain`."""
        out = self._work / "plain"
        cost = self._plain(out if files else None, processes)
        shutil.rmtree(out, ignore_errors=True)
        return _figures(cost)

    def wb(self, processes: int) -> Figures:
        """Files straight from the database."""
        out = self._work / "wb"
        words = ("wb", "signal-profile", "snapshot", "--all", "--workers", str(processes), "--output-dir", str(out))
        cost = stand.measured(words, env=self._env, log=self._work / "log")
        wrong = self._differing(out)
        shutil.rmtree(out)
        return {**_figures(cost), "wrong": wrong}

    def rebuild(self, name: str) -> Figures:
        """Into an empty store and an empty folder; or again, with nothing to change: both are measured at once."""
        if name not in self._rebuilds:
            self._rebuilds |= self._rebuilt()
        return self._rebuilds.pop(name)

    def _rebuilt(self) -> dict[str, Figures]:
        out = self._work / "rebuilt"
        with stand.redis(self._work / "store") as server:
            env, servers = {**self._env, "REDIS_URL": server.url}, Servers(redis=server.pid)
            words = ("snapshot-rebuild", "--all", "--workers", "1", "--output-dir", str(out))
            found: dict[str, Figures] = {}
            for name, codes in ((EMPTY, (0, 1)), (IN_STEP, (0,))):
                cost = stand.measured(words, env=env, log=self._work / "log", servers=servers, codes=codes)
                found[name] = {**_figures(cost), "wrong": self._differing(out)}
        shutil.rmtree(out)
        return found

    def _plain(self, out: Path | None, processes: int = 1) -> Cost:
        words = (
            sys.executable,
            "-m",
            "benchmarks.programs.plain",
            str(self._databases),
            str(out or "-"),
            str(processes),
        )
        return stand.measured(words, env=self._env, log=self._work / "log")

    def _differing(self, out: Path) -> int:
        """How many profiles are not as the baseline has them; its files are spelled otherwise."""
        names = {path.name for folder in (self._right, out) for path in folder.glob("*.json")}
        return sum(_content(self._right / name) != _content(out / name) for name in names)


def _content(path: Path) -> object:
    return json.loads(path.read_bytes()) if path.exists() else None


def _figures(cost: Cost) -> dict[str, float]:
    return {"seconds": cost.wall, "cpu_seconds": cost.cpu, "memory": cost.memory}


ROWS: Mapping[str, Callable[[FullRead], Figures]] = {
    **{
        f"{what}, {number} process(es)": methodcaller("baseline", number, files=what == FILES)
        for what in (FOLD, FILES)
        for number in PROCESSES
    },
    **{f"wb --all, {number} process(es)": methodcaller("wb", number) for number in PROCESSES},
    EMPTY: methodcaller("rebuild", EMPTY),
    IN_STEP: methodcaller("rebuild", IN_STEP),
}
"""All that can be measured of a full read."""


@contextmanager
def opened(work: Path, shape: Shape) -> Iterator[FullRead]:
    """Have the databases, and what must come out."""
    yield FullRead(work, shape)

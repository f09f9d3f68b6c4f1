"""What a measurement on real servers needs: a broker, a Redis, commands that must end well, and what a process used."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from filecmp import dircmp
from pathlib import Path
from typing import NamedTuple

import psutil

from support.commands import HERE, run
from support.kafka_broker import NativeBroker
from support.redis_server import RedisServer

_LOOK_SECONDS = 0.2
_QUIET_SECONDS = 4.0


class Cost(NamedTuple):
    """What one command used: seconds of the clock, of its processors, of Redis' and of the broker's; peak memory."""

    wall: float
    own: float
    redis: float = 0.0
    broker: float = 0.0
    rss_mb: int = 0

    @property
    def cpu(self) -> float:
        """Its own seconds and those of its store."""
        return self.own + self.redis


@contextmanager
def broker(work: Path, port: int | None = None) -> Iterator[NativeBroker]:
    """One broker with its data in `work`."""
    folder = work / "kafka"
    folder.mkdir()
    server = NativeBroker(folder, port=port)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def redis(folder: Path) -> Iterator[RedisServer]:
    """An empty Redis with its append-only file on."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    server = RedisServer(folder)
    try:
        yield server
    finally:
        server.kill()


def ended(*words: str, env: Mapping[str, str]) -> None:
    """Run a command of ours; SystemExit where it fails."""
    done = run(*words, env=env, timeout=3600)
    if done.returncode:
        raise SystemExit(f"{words[0]} ended with {done.returncode}: {done.stderr}")


def differing(right: Path, out: Path) -> list[str]:
    """Name the profiles whose files are not the same in both folders."""
    found = dircmp(right, out)
    return sorted(name for name in (*found.diff_files, *found.left_only, *found.right_only) if name.endswith(".json"))


def measured(
    words: Sequence[str], env: Mapping[str, str], *, broker_pid: int, redis_pid: int | None = None, log: Path
) -> Cost:
    """Run a command (of ours, or a path) to its end; SystemExit where it fails."""
    servers = _Servers(broker_pid, redis_pid)
    began = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen([HERE / words[0], *words[1:]], env=env, stdout=output, stderr=output)  # noqa: S603 - ours
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    if status:
        raise SystemExit(f"{words[0]} ended with {os.waitstatus_to_exitcode(status)}: {log.read_text()[-2000:]}")
    return Cost(seconds, used.ru_utime + used.ru_stime, *servers.used(), used.ru_maxrss // 1024)


def measured_until_quiet(
    words: Sequence[str], env: Mapping[str, str], *, broker_pid: int, log: Path, produced: Callable[[], int]
) -> Cost:
    """Run a program that never ends until it has produced nothing for a while; the cost up to its last message."""
    servers = _Servers(broker_pid, None)
    began, last, cost = time.monotonic(), 0, Cost(0.0, 0.0)
    with log.open("ab") as output:
        process = subprocess.Popen(words, env=env, stdout=output, stderr=output)  # noqa: S603 - ours
    try:
        while not last or time.monotonic() - began - cost.wall < _QUIET_SECONDS:
            time.sleep(_LOOK_SECONDS)
            if process.poll() is not None:
                raise SystemExit(f"{words[0]} ended with {process.returncode}: {log.read_text()[-2000:]}")
            if (now := produced()) != last:
                last, seen = now, psutil.Process(process.pid)
                rss = max(cost.rss_mb, seen.memory_info().rss // 2**20)
                cost = Cost(time.monotonic() - began, _seconds(process.pid), *servers.used(), rss)
    finally:
        process.kill()
        process.wait()
    return cost


class _Servers:
    def __init__(self, broker_pid: int, redis_pid: int | None) -> None:
        self._redis, self._broker = redis_pid, broker_pid
        self._before = self._now()

    def _now(self) -> tuple[float, float]:
        return (_seconds(self._redis), _seconds(self._broker))

    def used(self) -> tuple[float, float]:
        redis, broker = self._now()
        return redis - self._before[0], broker - self._before[1]


def _seconds(pid: int | None) -> float:
    if pid is None:
        return 0.0
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)

"""What a measurement on real servers needs: a broker, a Redis, commands that must end well, and what a process used."""

import os
import re
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from filecmp import dircmp
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.whiteballoon import ROOT
from support.commands import HERE, run
from support.kafka_broker import NativeBroker
from support.process import Process
from support.redis_server import RedisServer

PORT = 19092
"""The peers' jobs know no other broker."""

_LOOK_SECONDS = 0.2
_QUIET_SECONDS = 4.0
_START_SECONDS = 600.0
_QUIET_AT_MOST = 60.0


class FailedError(RuntimeError):
    """A command did not end well; the text holds the end of what it said."""


class Cost(NamedTuple):
    """What commands used: seconds of the clock, of processors: their own, Redis', the broker's; peak memory, MB."""

    wall: float
    own: float
    redis: float = 0.0
    broker: float = 0.0
    memory: float = 0.0

    @property
    def cpu(self) -> float:
        """Their own seconds and those of their store."""
        return self.own + self.redis


class Servers(NamedTuple):
    """The processes whose CPU seconds are counted as well, by their ids; None: there is none."""

    redis: int | None = None
    broker: int | None = None

    def seconds(self) -> tuple[float, float]:
        """CPU seconds of both so far."""
        return cpu_seconds(self.redis), cpu_seconds(self.broker)


ALONE = Servers()
"""No server is counted."""


@contextmanager
def broker(work: Path, port: int | None = None) -> Iterator[NativeBroker]:
    """One broker with its data in `work`."""
    folder = work / "kafka"
    folder.mkdir(parents=True)
    server = NativeBroker(folder, port=port, patience=_START_SECONDS)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def redis(folder: Path) -> Iterator[RedisServer]:
    """An empty Redis with its append-only file on."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    server = RedisServer(folder)
    try:
        yield server
    finally:
        server.kill()


def ended(*words: str, env: Mapping[str, str]) -> None:
    """Run a command of ours; FailedError where it fails."""
    done = run(*words, env=env, timeout=3600)
    if done.returncode:
        raise FailedError(f"{words[0]} ended with {done.returncode}: {done.stderr[-500:]}")


def differing(right: Path, out: Path) -> int:
    """Count the profiles whose files are not the same in both folders."""
    found = dircmp(right, out)
    return sum(name.endswith(".json") for name in (*found.diff_files, *found.left_only, *found.right_only))


def measured(
    *commands: Sequence[str],
    env: Mapping[str, str],
    log: Path,
    servers: Servers = ALONE,
    codes: Sequence[int] = (0,),
) -> Cost:
    """Run commands (of ours, or paths) at the same time, all to their ends; FailedError where one fails.

    Memory is that of the largest of these processes; its own children are not looked at.
    """
    before, began = servers.seconds(), time.monotonic()
    with log.open("ab") as output:
        running = [
            subprocess.Popen([HERE / words[0], *words[1:]], env=env, cwd=ROOT, stdout=output, stderr=output)  # noqa: S603 - ours
            for words in commands
        ]
        with _peaks([process.pid for process in running]) as peaks:
            ends = [_reaped(process) for process in running]
    wall = time.monotonic() - began
    for process, words in zip(running, commands, strict=True):
        if (code := process.returncode) not in codes:
            raise FailedError(f"{' '.join(words[:3])} ended with {code}: {log.read_text()[-500:]}")
    own = sum(used.ru_utime + used.ru_stime for used in ends)
    return Cost(wall, own, *_since(before, servers), max(peaks.values()))


def measured_until_complete(  # noqa: PLR0913 - a command, its surroundings, and two questions
    words: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
    servers: Servers,
    produced: Callable[[], int],
    wrong: Callable[[], int],
) -> tuple[Cost, int]:
    """Run a program that never ends until it produces nothing more, and what it produced is right.

    Gives the cost up to its last message, and how many profiles are wrong: not 0 after a minute of silence.
    """
    before, began, last, cost = servers.seconds(), time.monotonic(), 0, Cost(0.0, 0.0)
    process = Process(words, log, cwd=cwd, env=env)
    asked, bad = 0.0, -1
    try:
        while bad != 0 and (quiet := time.monotonic() - began - cost.wall) < (
            _QUIET_AT_MOST if last else _START_SECONDS
        ):
            time.sleep(_LOOK_SECONDS)
            if not process.running:
                raise FailedError(f"{words[0]} ended with {process.returncode}: {process.tail()[-500:]}")
            if (now := produced()) != last:
                last, seen = now, psutil.Process(process.pid)
                memory = max(cost.memory, seen.memory_info().rss / 2**20)
                cost = Cost(time.monotonic() - began, cpu_seconds(process.pid), *_since(before, servers), memory)
            elif last and quiet > _QUIET_SECONDS and time.monotonic() - asked > _QUIET_SECONDS:
                bad, asked = wrong(), time.monotonic()
    finally:
        process.kill()
    if bad < 0:
        raise FailedError(f"{words[0]} produced nothing: {process.tail()[-500:]}")
    return cost, bad


def cpu_seconds(pid: int | None) -> float:
    """CPU seconds of a process so far; 0 where there is none."""
    if pid is None:
        return 0.0
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _reaped(process: subprocess.Popen[bytes]) -> resource.struct_rusage:
    """What a process used, its own children included, once it has ended."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used


@contextmanager
def _peaks(pids: Sequence[int]) -> Iterator[Mapping[int, float]]:
    """The peak memory of running processes, in MB, looked at until the end.

    What the kernel says at a process' end (`ru_maxrss`) counts the memory of the one that started it as well.
    """
    peaks, ended = dict.fromkeys(pids, 0.0), threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK_SECONDS):
            for pid in pids:
                peaks[pid] = max(peaks[pid], _peak(pid))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield peaks
    finally:
        ended.set()
        looking.join()


def _peak(pid: int) -> float:
    """Of one process so far; 0 where it has ended."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return 0.0 if found is None else int(found[1]) / 1024


def _since(before: tuple[float, float], servers: Servers) -> tuple[float, float]:
    redis, broker = servers.seconds()
    return redis - before[0], broker - before[1]

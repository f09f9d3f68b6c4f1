"""A daemon that goes on running: seconds from an event to its file, at rest and under load; and what it takes idle.

Each row starts a consumer of its own on an empty store. Events are produced straight to Kafka; those that are watched
are of profiles that nobody has, so that a file's appearance is its end. Under load, another process sends so many
events a second, each of another of 20,000 profiles. Broker, load and consumer share the machine's cores.
"""

import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Producer

from benchmarks import stand, whiteballoon
from benchmarks.measures.stream import CLIENTS
from benchmarks.programs.load import GROUP, comment, producer
from benchmarks.results import Figures
from benchmarks.whiteballoon import ROOT, Shape
from projections.comments.events import COMMENT_CREATED
from support.commands import Started
from support.kafka_broker import empty
from support.process import Process
from support.redis_server import RedisServer

RATES = (300, 1_000, 2_000, 4_000)
_LOOK_SECONDS = 0.002
_LONGEST = 30.0
"""An event whose file has not appeared after so many seconds is counted as that."""
_WARM_SECONDS = 3.0
_START_SECONDS, _END_SECONDS = 600.0, 120.0
_STEADY_SECONDS, _STEADY_SHARE = 3.0, 0.07
_users = count(90_000_000)


class Scale(NamedTuple):
    """How many events are watched in each row, and for how many seconds an idle consumer."""

    events: int
    idle_seconds: float


class Ground(NamedTuple):
    """Where the rows are measured."""

    work: Path
    bootstrap: str
    scale: Scale


class _Running(NamedTuple):
    """A consumer at rest, and its Redis."""

    consumer: Started
    server: RedisServer
    files: Path

    def seconds(self) -> tuple[float, float]:
        """CPU seconds of both so far."""
        return stand.cpu_seconds(self.consumer.process.pid), stand.cpu_seconds(self.server.pid)


@contextmanager
def _running(
    ground: Ground, *, client: str = CLIENTS[0], debounce: float = 0.5, kafka: bool = True
) -> Iterator[_Running]:
    """Start one on an empty store, and wait until it has nothing to do."""
    databases = whiteballoon.urls(whiteballoon.create(Shape(1, 1)))
    storage = ground.work / f"storage-{next(_users)}"
    with stand.redis(ground.work / "store") as server:
        ours = {"REDIS_URL": server.url, "SNAPSHOT_STORAGE_DIR": str(storage), "SNAPSHOT_DEBOUNCE": str(debounce)}
        env = {**os.environ, **databases, **ours}
        if kafka:
            env |= {"KAFKA_BOOTSTRAP_SERVERS": ground.bootstrap, "KAFKA_CLIENT": client}
            empty(ground.bootstrap)
            stand.ended("snapshot-admin", "topics", "--partitions", "4", env=env)
        files, log = storage / "files", ground.work / "consumer.log"
        with Started("snapshot-consumer", "--output-dir", str(files), env=env, log=log) as consumer:
            running = _Running(consumer, server, files)
            if kafka:
                consumer.until(files.is_dir, _START_SECONDS)
                _Watch(running, producer(ground.bootstrap)).until_written()
            consumer.until(lambda: any(files.glob("*.json")), _START_SECONDS)
            _until_steady(running)
            yield running
            consumer.process.send_signal(signal.SIGTERM)
            consumer.process.wait(_END_SECONDS)


def _until_steady(running: _Running) -> None:
    used = _STEADY_SECONDS
    while used > _STEADY_SHARE * _STEADY_SECONDS:
        before = sum(running.seconds())
        time.sleep(_STEADY_SECONDS)
        used = sum(running.seconds()) - before


class _Watch:
    """Sends events of new profiles, and notes how many seconds each file took to appear."""

    def __init__(self, running: _Running, sends: Producer) -> None:
        self._files = running.files
        self._sends = sends
        self._pending: dict[Path, float] = {}
        self.seconds: list[float] = []

    def send(self) -> None:
        """One more."""
        user = next(_users)
        self._pending[self._files / f"{user}-{GROUP}.json"] = time.monotonic()
        self._sends.produce(COMMENT_CREATED, comment(user, user), str(user))
        self._sends.flush()

    def look(self) -> None:
        """See which are there by now."""
        now = time.monotonic()
        for path, sent in list(self._pending.items()):
            if path.exists() or now - sent > _LONGEST:
                self.seconds.append(min(now - sent, _LONGEST))
                del self._pending[path]

    def until_written(self) -> None:
        """Send one, and wait for it, however long the consumer's start takes."""
        self.send()
        ((path, _sent),) = self._pending.items()
        while not path.exists():
            time.sleep(_LOOK_SECONDS)

    def watch(self, events: int, apart: float) -> None:
        """Send so many, so many seconds apart, and wait for all."""
        sent, due = 0, time.monotonic()
        while sent < events or self._pending:
            if sent < events and time.monotonic() >= due:
                self.send()
                sent, due = sent + 1, due + apart
            self.look()
            time.sleep(_LOOK_SECONDS)


def latency(ground: Ground, rate: int = 0, debounce: float = 0.5) -> Figures:
    """Seconds from an event to its file, while so many events a second go to other profiles."""
    with _running(ground, debounce=debounce) as running:
        watch = _Watch(running, producer(ground.bootstrap))
        with _load(ground, rate) if rate else nullcontext(lambda: 0.0) as achieved:
            time.sleep(_WARM_SECONDS if rate else 0)
            watch.watch(ground.scale.events, 0.1 if rate else debounce + 0.1)
            sent = achieved()
    percentiles = statistics.quantiles(watch.seconds, n=100, method="inclusive")
    return {"p50": percentiles[49], "p99": percentiles[98], "slowest": max(watch.seconds), "sent": sent}


@contextmanager
def _load(ground: Ground, rate: int) -> Iterator[Callable[[], float]]:
    """Have another process send; gives the events a second that it really sends."""
    env = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": ground.bootstrap}
    words = [sys.executable, "-m", "benchmarks.programs.load", str(rate)]
    said = ground.work / f"load-{next(_users)}.log"
    process = Process(words, said, cwd=ROOT, env=env)
    try:
        yield lambda: _per_second(said.read_text().split())
    finally:
        process.kill()


def _per_second(said: list[str]) -> float:
    return int(said[-1]) / len(said) if said else 0.0


def idle(ground: Ground, client: str = CLIENTS[0], *, kafka: bool = True) -> Figures:
    """What it takes while nothing happens, in percent of a core."""
    with _running(ground, client=client, kafka=kafka) as running:
        own, redis = running.seconds()
        time.sleep(ground.scale.idle_seconds)
        used, of_redis = running.seconds()
    share = 100 / ground.scale.idle_seconds
    return {"core": (used - own + of_redis - redis) * share, "redis_core": (of_redis - redis) * share}


ROWS: Mapping[str, Callable[[Ground], Figures]] = {
    "event to file, at rest": latency,
    "event to file, at rest, debounce 0": partial(latency, debounce=0.0),
    **{f"event to file, {rate:,} profiles a second": partial(latency, rate=rate) for rate in RATES},
    **{f"idle, Kafka, {client}": partial(idle, client=client) for client in CLIENTS},
    "idle, straight from the database": partial(idle, kafka=False),
}
"""All that can be measured of a running consumer."""


@contextmanager
def opened(work: Path, scale: Scale) -> Iterator[Ground]:
    """Start a broker."""
    with stand.broker(work) as broker:
        yield Ground(work, broker.bootstrap, scale)

"""Every documented metric is really sent: each part of the product that sends some is brought to do so."""

import itertools
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import get_args
from unittest.mock import Mock

import pytest

from consumer.daemon.flush_worker import FlushWorker
from consumer.dead_letters.breaker import BadStreak
from consumer.kafka import source as kafka_source
from consumer.loop import Loop
from consumer.relay.relay import Relay
from consumer.source import Invalid
from consumer.tail.source import DatabaseTail
from projections.comments.events import Event
from projections.comments.register import GONE
from projections.database.database import open_databases
from projections.projection import Projection
from projections.store.memory import MemoryStore
from projections.store.rollback import RollbackDetector
from snapshot.cli.options import MetricOptions
from snapshot.cli.run_log import RunLog
from snapshot.cli.run_metrics import measured
from snapshot.files.folder import open_folder
from snapshot.flush.flusher import Flusher
from snapshot.flush.scrub import Scrub
from snapshot.freshness import Freshness
from snapshot.kafka.settings import KafkaSettings
from snapshot.rebuild.command import _count, _record
from snapshot.runtime.metrics import Counter, Gauge
from snapshot.runtime.progress import NoProgress
from snapshot.wb import _measure
from support.flushing import Interrupted, RecordingAnnouncer
from support.histories import KEYS, comment
from support.metrics import RecordedMetrics
from support.rebuilding import Town
from support.relaying import Topics
from support.scripted import Broker
from support.stores import NOW, Clock
from support.tailing import QUICK, NoDeadLetters, microseconds
from support.whiteballoon import WhiteBalloon

KEY = KEYS[0]


class Letters:
    """Dead letters that nobody reads."""

    def send(self, _invalid: object) -> None: ...


def consuming(metrics: RecordedMetrics) -> None:
    """A conflict, a message that is no event, a topic that was recreated."""
    store, broker, now = MemoryStore(Clock(), NOW), Broker(partitions=1), itertools.count(0.0, 1.0)
    conflicts = [comment(KEY, 99, 1)]

    def act(name: str, when: str) -> None:
        if (name, when) == ("save", "before") and conflicts:
            Projection(store).apply([conflicts.pop()])

    projection = Projection(Interrupted(store, act))
    loop = Loop(broker.join(), projection, Letters(), BadStreak(), metrics, lambda: next(now))
    broker.publish(comment(KEY, 1, 1), Invalid("comment-created", 0, 1, b"1", b"garbage", (), "it is no JSON"))
    for _ in range(5):
        loop.step(0)
    broker.remake("comment-created")
    for _ in range(5):
        loop.step(0)


def flushing(metrics: RecordedMetrics, path: Path) -> None:
    """One profile is written, found unchanged, fails and is removed."""
    clock = Clock()
    store = MemoryStore(clock, NOW)
    projection, folder, announced, detector = (
        Projection(store),
        open_folder(path, None),
        RecordingAnnouncer(),
        RollbackDetector(store),
    )
    detector.accept()
    flusher = Flusher(projection, folder, announced, metrics, lease=2.0, retry=0.1, now=lambda: 0.0)
    worker = FlushWorker(flusher, Scrub(store, folder), detector, itertools.count(0.0, 2.0).__next__)
    worker.step()

    def change(*events: Event) -> None:
        for event in events:
            projection.apply([event])
        clock.wait(3)
        worker.step()

    change(comment(KEY, 1, 1))
    change(comment(KEY, 1, 2, state=GONE), comment(KEY, 1, 3))
    announced.failing = TimeoutError("no acknowledgement")
    change(comment(KEY, 2, 1))
    announced.failing = None
    change(comment(KEY, 1, 4, state=GONE), comment(KEY, 2, 4, state=GONE))
    folder.close()


def following(metrics: RecordedMetrics, wb: WhiteBalloon) -> None:
    """The tail in process meets an invalid row, and makes a round."""
    database = open_databases(wb.main_url, wb.insights_url)
    projection = Projection(MemoryStore(microseconds))
    source = DatabaseTail(projection, database, QUICK, metrics=metrics)
    loop = Loop(source, projection, NoDeadLetters(), BadStreak(), metrics, time.monotonic)
    until(loop.caught_up, lambda: loop.step(0.05))
    wb.edit(1, "another")
    until(lambda: "signal_glaze.sweep_round_seconds" in metrics.gauges, lambda: loop.step(0.05))
    source.close()
    database.close()


def relaying(metrics: RecordedMetrics, wb: WhiteBalloon) -> None:
    database, topics = open_databases(wb.main_url, wb.insights_url), Topics()
    relay = Relay(
        topics.projection, database, topics, lambda: topics.ends, QUICK, metrics=metrics,
        progress=lambda: nullcontext(NoProgress()),
    )  # fmt: skip
    until(lambda: bool(topics.log), lambda: relay.step(0.05))
    relay.close()
    database.close()


def until(there: Callable[[], bool], step: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        step()


def recreating(metrics: RecordedMetrics, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Kafka consumer is replaced; nothing is connected."""
    monkeypatch.setattr(kafka_source, "probe", lambda *_: None)
    monkeypatch.setattr(kafka_source, "join", lambda *_: Mock())
    source = kafka_source.KafkaSource(KafkaSettings(bootstrap_servers="nowhere:9092"), "test", metrics=metrics)
    source._recreate("it has stalled")  # noqa: SLF001 - what the watchdog asks for


def rebuilding(town: Town, storage: Path) -> set[str]:
    """A run that finds drift; what it sends goes over UDP."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        server.bind(("127.0.0.1", 0))
        run = stack.enter_context(RunLog(storage, "snapshot-rebuild"))
        town.rebuild()  # a first fill is no drift
        town.wb.comment(1, 1)
        with measured(MetricOptions("127.0.0.1", server.getsockname()[1]), run) as counts:
            report = town.rebuild()
            _record(report, run.entry)
            _count(report, counts)
            run.entry.error = "as if it had been blocked"
        server.settimeout(0)
        lines: list[str] = []
        with suppress(BlockingIOError):
            while True:
                lines += server.recv(4096).decode().splitlines()
        return {line.partition(":")[0] for line in lines if ":0|c" not in line}


def test_every_documented_name_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wb = WhiteBalloon.in_folder(tmp_path / "data")
    request, (ann, ben) = wb.add_group("elm", "Elm", members=2)
    wb.comment(ann, request)
    invalid = wb.comment(ben, request)
    with wb.main.begin() as connection:
        connection.exec_driver_sql("UPDATE request_comments SET created_at = 'yesterday' WHERE id = ?", (invalid,))
    metrics, clock = RecordedMetrics(), Clock()
    consuming(metrics)
    flushing(metrics, tmp_path / "flushed")
    following(metrics, wb)
    relaying(metrics, wb)
    recreating(metrics, monkeypatch)
    _measure(Freshness(highlights=2, fresh=1, stale=[]), metrics)
    town = Town(tmp_path, wb, MemoryStore(clock, NOW), clock.wait)
    sent = {name for name, by in metrics.counts.items() if by} | metrics.gauges.keys() | rebuilding(town, tmp_path)
    town.database.close()
    assert sent == {*get_args(Counter), *get_args(Gauge)}

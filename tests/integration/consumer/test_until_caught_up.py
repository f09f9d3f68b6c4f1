"""A run that is to end ends, whatever it waits for: with one line and exit code 2."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from consumer.commands.admin import demo_database
from support import services
from support.commands import Started, on
from support.kafka_broker import Broker

CONSUMER = ("snapshot-consumer", "--until-caught-up")
RELAY = ("snapshot-relay", "--until-caught-up")


def last_line(*words: str, env: dict[str, str], log: Path, before: Callable[[Started], object] = lambda _: None) -> str:
    """What a run says at its end, which is a failure."""
    with Started(*words, env=env, log=log) as started:
        before(started)
        assert started.process.wait(200) == 2, started.said()
    assert "Traceback" not in started.said()
    return started.said().splitlines()[-1]


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A folder of databases in which somebody holds a lock that forbids reading."""
    demo_database.create(tmp_path / "data")
    with closing(sqlite3.connect(tmp_path / "data" / "app.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("BEGIN EXCLUSIVE")
        yield tmp_path / "data"


def test_a_locked_database(locked: Path, tmp_path: Path, fresh_kafka: str) -> None:
    embedded = on(locked, tmp_path / "embedded")
    relay = on(locked, tmp_path / "relay", KAFKA_BOOTSTRAP_SERVERS=fresh_kafka)
    with ThreadPoolExecutor() as pool:
        ends = [
            pool.submit(last_line, *CONSUMER, env=embedded, log=tmp_path / "consumer.log"),
            pool.submit(last_line, *RELAY, env=relay, log=tmp_path / "relay.log"),
        ]
        assert all("stays locked by a writer" in end.result() for end in ends)


def test_a_database_that_is_locked_under_way(oracle_databases: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with closing(sqlite3.connect(oracle_databases / "app.db", isolation_level=None, timeout=60)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")

        def lock(started: Started) -> None:
            started.until(lambda: out.is_dir() and any(out.glob("*.json")))
            connection.execute("BEGIN EXCLUSIVE")

        env = on(oracle_databases, tmp_path / "storage")
        said = last_line(*CONSUMER, "--output-dir", str(out), env=env, log=tmp_path / "log", before=lock)
    assert "stays locked by a writer" in said


def test_a_broker_without_a_coordinator(short_folder: Callable[[str], Path], redis_url: str, tmp_path: Path) -> None:
    """Its topic of offsets can't be created: it asks for more replicas than there are brokers."""
    demo_database.create(tmp_path / "data")
    broker = services.native_kafka(short_folder("no-coordinator"), {"offsets.topic.replication.factor": "3"})
    try:
        env = on(tmp_path / "data", tmp_path / "storage", KAFKA_BOOTSTRAP_SERVERS=broker.bootstrap, REDIS_URL=redis_url)
        said = last_line(*CONSUMER, env=env, log=tmp_path / "log")
    finally:
        broker.close()
    assert "gave up after 60 s without progress: Kafka at " in said
    assert "has no coordinator for the group signal-identity-snapshotter" in said


def test_a_broker_that_hangs_under_way(own_kafka: Broker, redis_url: str, tmp_path: Path) -> None:
    demo_database.create(tmp_path / "data")
    env = on(tmp_path / "data", tmp_path / "storage", KAFKA_BOOTSTRAP_SERVERS=own_kafka.bootstrap, REDIS_URL=redis_url)

    def hang(started: Started) -> None:
        started.until(lambda: any((tmp_path / "storage").glob("alive-*")))
        own_kafka.pause()

    try:
        with Started("snapshot-consumer", env=env, log=tmp_path / "other.log") as other:
            hang(other)
            said = last_line(*CONSUMER, env=env | {"SNAPSHOT_ALIVE_FILE": str(tmp_path / "own")}, log=tmp_path / "log")
            assert other.process.poll() is None, "a daemon waits"
            assert any((tmp_path / "storage").glob("alive-*"))
    finally:
        own_kafka.resume()
    assert own_kafka.bootstrap in said

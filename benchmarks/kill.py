"""kill -9 of the only consumer half way through the stream: seconds to caught up, beside those without a kill.

    make bench-kill

A broker and a Redis of its own, its append-only file on; the relay fills the topics. The stream is read twice, each
time by a group of its own into a store and a folder of its own: once by one process to the end, once by one that is
killed after half of the events and by its successor. Both times every file is compared with what `wb --all` writes.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from kafka import KafkaAdminClient

from benchmarks import stand, whiteballoon
from consumer.kafka.options import SourceOptions
from consumer.kafka.topics import event_ends
from snapshot.kafka.settings import KafkaSettings
from support.commands import Started
from support.redis_server import RedisServer

_CONSUMER = ("snapshot-consumer", "--until-caught-up")


class Ground(NamedTuple):
    """Where it is measured: a folder, the environment that names databases and broker, and the number of events."""

    folder: Path
    environment: Mapping[str, str]
    events: int


def main() -> None:
    """Measure, print, and end with 1 where a profile is wrong."""
    urls = whiteballoon.chosen("whiteballoon", whiteballoon.COPIES)
    work = Path(tempfile.mkdtemp(prefix="kill-", dir=whiteballoon.FOLDER))
    wrong: list[str] = []
    try:
        with stand.broker(work) as broker:
            ground = _prepared(work, {**os.environ, **urls, "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap})
            whole = _calm(ground, wrong)
            before, after = _killed(ground, wrong)
    finally:
        shutil.rmtree(work)
    session = SourceOptions().session_timeout
    print(f"without a kill      {whole:7.1f} s for {ground.events:,} events")
    print(f"killed              {before:7.1f} s after its start, half of the events committed")
    print(f"its successor       {after:7.1f} s to caught up; {session:g} s of them until its membership is over")
    print(f"wrong profiles      {len(wrong)} {' '.join(wrong[:5])}")
    sys.exit(1 if wrong else 0)


def _prepared(work: Path, environment: Mapping[str, str]) -> Ground:
    """Write what must come out, and fill the topics."""
    right = work / "right"
    stand.ended("wb", "signal-profile", "snapshot", "--all", "--output-dir", str(right), env=environment)
    with stand.redis(work / "relay") as server:
        stand.ended("snapshot-relay", "--until-caught-up", env={**environment, "REDIS_URL": server.url})
    settings = KafkaSettings(bootstrap_servers=environment["KAFKA_BOOTSTRAP_SERVERS"])
    return Ground(work, environment, sum(event_ends(settings).values()))


def _calm(ground: Ground, wrong: list[str]) -> float:
    with stand.redis(ground.folder / "calm") as server:
        out, environment = _member(ground, "calm", server)
        began = time.monotonic()
        stand.ended(*_CONSUMER, "--output-dir", str(out), env=environment)
        seconds = time.monotonic() - began
    wrong += stand.differing(ground.folder / "right", out)
    return seconds


def _killed(ground: Ground, wrong: list[str]) -> tuple[float, float]:
    """Seconds from the first one's start to its end, and from there to the end of its successor."""
    with stand.redis(ground.folder / "killed") as server:
        out, environment = _member(ground, "killed", server)
        began = time.monotonic()
        with Started(*_CONSUMER, "--output-dir", str(out), env=environment, log=ground.folder / "killed.log") as first:
            half = ground.events // 2
            first.until(lambda: _committed(environment["KAFKA_BOOTSTRAP_SERVERS"], "killed") >= half, 3600)
            first.kill()
        dead = time.monotonic()
        stand.ended(*_CONSUMER, "--output-dir", str(out), env=environment)
        seconds = dead - began, time.monotonic() - dead
    wrong += stand.differing(ground.folder / "right", out)
    return seconds


def _member(ground: Ground, name: str, server: RedisServer) -> tuple[Path, Mapping[str, str]]:
    further = {
        "REDIS_URL": server.url,
        "KAFKA_GROUP_ID": name,
        "SNAPSHOT_STORAGE_DIR": str(ground.folder / f"{name}-storage"),
    }
    return ground.folder / f"{name}-out", {**ground.environment, **further}


def _committed(bootstrap: str, group: str) -> int:
    with KafkaAdminClient(bootstrap_servers=bootstrap) as client:
        found = client.list_group_offsets({group: None})[group]
    return sum(one.offset for one in found.values() if one.offset > 0)


if __name__ == "__main__":
    main()

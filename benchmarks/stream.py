"""The stream side by side: the raw limits, the relay, the consumer by both clients, Kafka Streams; each a ratio.

    python -m benchmarks.stream [COPIES]     (make bench-stream; 17 copies: 692,325 events)

One broker with four partitions a topic, one Redis with its append-only file on, both on this machine. Every profile
of every row of ours is compared with what `wb --all` writes. Kafka Streams is the Java job of `shared/peers/harness`,
write-behind, one thread; it does the same counting and announces, and writes no files. Each row is the median of its
runs by processor time (RUNS=3), the rows taken in turns. Figures are CPU milliseconds a thousand events, own process
and Redis; machines differ, so compare ratios within one run only.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import stand, whiteballoon
from benchmarks.stand import Cost
from consumer.kafka.topics import event_ends
from snapshot.kafka.settings import KafkaSettings

_PORT = 19092
"""The Java job knows no other."""
CLIENTS = ("librdkafka", "kafka-python")
PEERS = whiteballoon.ROOT.parent / "shared" / "peers" / "harness" / "ks"
RESULTS = Path(__file__).with_name("results")
_OUT = "kafka-streams-out"
Row = Callable[[], Cost]


class Stream:
    """The servers with a filled stream, and the rows that can be measured on it. `relays` are measured already."""

    def __init__(self, work: Path, environment: Mapping[str, str], broker_pid: int) -> None:
        self._work = work
        self._env = environment
        self._broker = broker_pid
        self._runs = 0
        self.wrong: list[str] = []
        self.right = work / "right"
        stand.ended("wb", "signal-profile", "snapshot", "--all", "--output-dir", str(self.right), env=environment)
        self.settings = KafkaSettings(bootstrap_servers=environment["KAFKA_BOOTSTRAP_SERVERS"])

    def fill(self) -> Cost:
        """Have the relay publish the whole history, by the faster client."""
        stand.ended("snapshot-admin", "topics", "--partitions", "4", env=self._env)
        with stand.redis(self._work / "relay") as server:
            env = {**self._env, "REDIS_URL": server.url, "KAFKA_CLIENT": CLIENTS[0]}
            return self._measured(("snapshot-relay", "--until-caught-up"), env, server.pid)

    @property
    def events(self) -> int:
        """How many there are."""
        return sum(event_ends(self.settings).values())

    def limit(self, client: str, mode: str) -> Cost:
        """See `benchmarks.limits`."""
        return self._measured((sys.executable, "-m", "benchmarks.limits", client, mode), self._env)

    def consumer(self, client: str) -> Cost:
        """One consumer from an empty store to the end, with files and announcements."""
        self._runs += 1
        out = self._work / "out"
        with stand.redis(self._work / "store") as server:
            env = {
                **self._env,
                "REDIS_URL": server.url,
                "KAFKA_CLIENT": client,
                "KAFKA_GROUP_ID": f"run-{self._runs}",
                "SNAPSHOT_STORAGE_DIR": str(self._work / "storage"),
            }
            words = ("snapshot-consumer", "--until-caught-up", "--output-dir", str(out))
            cost = self._measured(words, env, server.pid)
        self.wrong += stand.differing(self.right, out)
        shutil.rmtree(out)
        return cost

    def kafka_streams(self, job: list[str]) -> Cost:
        """The Java job, until it announces nothing more."""
        self._runs += 1
        state = self._work / f"state-{self._runs}"
        state.mkdir()
        env = {**os.environ, "RUN": f"ks-{self._runs}", "C": "comment-created", "I": "insight-created", "OUT": _OUT}
        env |= {"DIR": str(state), "FIRST": str(state / "first"), "WB": "1", "THREADS": "1"}
        before = self._produced()
        log = self._work / "kafka-streams.log"
        return stand.measured_until_quiet(
            job, env, broker_pid=self._broker, log=log, produced=lambda: self._produced() - before
        )

    def _produced(self) -> int:
        from confluent_kafka import Consumer, TopicPartition  # noqa: PLC0415 - only where peers are measured

        consumer = Consumer({"bootstrap.servers": self.settings.bootstrap_servers, "group.id": "look"})
        try:
            return sum(consumer.get_watermark_offsets(TopicPartition(_OUT, part), timeout=5)[1] for part in range(4))
        finally:
            consumer.close()

    def create_output(self) -> None:
        """The topic of the Java job."""
        from confluent_kafka.admin import AdminClient, NewTopic  # noqa: PLC0415 - only where peers are measured

        client = AdminClient({"bootstrap.servers": self.settings.bootstrap_servers})
        for one in client.create_topics([NewTopic(_OUT, 4, 1)]).values():
            one.result(30)

    def _measured(self, words: tuple[str, ...], env: Mapping[str, str], redis_pid: int | None = None) -> Cost:
        log = self._work / "log"
        return stand.measured(words, env, broker_pid=self._broker, redis_pid=redis_pid, log=log)


def main() -> None:
    """Measure, print, keep the figures, and end with 1 where a profile is wrong."""
    urls = whiteballoon.chosen("whiteballoon", whiteballoon.COPIES)
    runs = int(os.environ.get("RUNS", "3"))
    work = Path(tempfile.mkdtemp(prefix="stream-", dir=whiteballoon.FOLDER))
    try:
        with stand.broker(work, _PORT) as broker:
            stream = Stream(work, {**os.environ, **urls, "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap}, broker.pid)
            found = {"relay, backfill (librdkafka)": [stream.fill()]}
            rows = _rows(stream)
            for _ in range(runs):
                for name, row in rows.items():
                    found.setdefault(name, []).append(row())
            _report(found, stream)
    finally:
        shutil.rmtree(work)
    sys.exit(1 if stream.wrong else 0)


def _rows(stream: Stream) -> dict[str, Row]:
    rows: dict[str, Row] = {
        f"{what} ({client})": partial(stream.limit, client, mode)
        for client in CLIENTS
        for what, mode in (("poll", "poll"), ("poll, decode", "decode"), ("poll, decode, fold in memory", "fold"))
    }
    rows |= {f"snapshot-consumer ({client})": partial(stream.consumer, client) for client in CLIENTS}
    if (job := _kafka_streams_job()) is not None:
        stream.create_output()
        rows["Kafka Streams, write-behind"] = partial(stream.kafka_streams, job)
    return rows


def _kafka_streams_job() -> list[str] | None:
    """Build the Java job, once; None without Maven, or without the harness."""
    if shutil.which("mvn") is None or not PEERS.is_dir():
        return None
    built = whiteballoon.FOLDER / "kafka-streams"
    if not (built / "Job.class").exists():
        libs = built / "libs"
        copy = ("dependency:copy-dependencies", f"-DoutputDirectory={libs}", "-DincludeScope=runtime")
        subprocess.run(["mvn", "-q", "-B", "-f", PEERS / "pom.xml", *copy], check=True)  # noqa: S603, S607 - as named
        subprocess.run(["javac", "-cp", f"{libs}/*", "-d", built, PEERS / "Job.java"], check=True)  # noqa: S603, S607
    classes = f"{built}:{built / 'libs'}/*"
    memory = ("-Xms1g", "-Xmx1g", "-XX:+UseParallelGC")
    return ["java", *memory, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", classes, "Job"]


def _report(found: Mapping[str, list[Cost]], stream: Stream) -> None:
    events = stream.events
    costs = {name: sorted(runs, key=lambda one: one.cpu)[(len(runs) - 1) // 2] for name, runs in found.items()}
    peer, floor = costs.get("Kafka Streams, write-behind"), costs["poll, decode, fold in memory (librdkafka)"]
    table = Table("row", "CPU ms / 1,000", "of it Redis", "events/s", "MB", "x fold", "x Kafka Streams")
    kept = []
    for name, cost in costs.items():
        per = 1e6 / events
        ratio = None if peer is None else cost.cpu / peer.cpu
        table.add_row(
            name,
            f"{cost.cpu * per:.1f}",
            f"{cost.redis * per:.1f}",
            f"{events / cost.wall:,.0f}",
            str(cost.rss_mb),
            f"{cost.cpu / floor.cpu:.2f}",
            "" if ratio is None else f"{ratio:.2f}",
        )
        kept.append({"row": name, **cost._asdict(), "runs": len(found[name])})
    Console().print(table)
    print(f"{events:,} events, {len(list(stream.right.glob('*.json'))):,} profiles; wrong: {len(stream.wrong)}")
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    content = {"at": now.isoformat(timespec="seconds"), "machine": machine, "events": events, "rows": kept}
    (RESULTS / f"stream-{now:%Y-%m-%d}.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()

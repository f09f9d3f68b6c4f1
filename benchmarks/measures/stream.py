"""A stream of events, read from its beginning: the raw limits, the relay, the consumer, the peers; and a kill -9.

One broker with four partitions a topic, one Redis with its append-only file on, both on this machine. Every profile of
every row is checked: ours against what `wb --all` writes of the same database, files and announcements; the peers' by
what they count by the same rules (comments, first, last, requests), against the events themselves. CPU is that of the
own process and of Redis.
"""

import json
import os
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from operator import methodcaller
from pathlib import Path
from typing import Any

import msgspec
import redis
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks import stand, whiteballoon
from benchmarks.peers import PEERS, Prepare
from benchmarks.results import Figures
from benchmarks.stand import Cost, Servers
from benchmarks.whiteballoon import Shape
from consumer.kafka.options import SourceOptions
from consumer.kafka.topics import event_ends
from projections.comments.events import COMMENT_CREATED, INSIGHT_CREATED
from snapshot.announce.announcement import SNAPSHOT_CHANGED
from snapshot.kafka.settings import KafkaSettings
from support.commands import Started
from support.kafka_broker import empty
from support.process import wait_until
from support.redis_server import RedisServer

CLIENTS = ("librdkafka", "kafka-python")
KILL = "kill -9 half way, its successor, librdkafka"
LIMITS = {"poll": "poll", "poll, decode": "decode", "poll, decode, fold": "fold"}
_PARTITIONS = 4
_READING_SECONDS = 600.0
"""A topic of which not all can be read by then has wrong profiles."""
_OF_PEERS = ("message_count", "first", "last", "request_ids")
"""What the peers' snapshots call what they count by the same rules, but for deletions."""
_CONSUMER = ("snapshot-consumer", "--until-caught-up")
_WITHOUT_FILES = (sys.executable, "-m", "benchmarks.programs.without_files", "--until-caught-up")


_Key = tuple[int, str]
"""User and group."""


class _Comment(msgspec.Struct):
    """What is read of an event, with its time as it is spelled there."""

    comment_id: int
    help_request_id: int
    user_id: int
    group_slug: str
    created_at: str


_decode = msgspec.json.Decoder(_Comment).decode


class Stream:
    """The servers and the databases of one stream, and what can be measured on it."""

    def __init__(self, work: Path, shape: Shape, bootstrap: str, broker_pid: int) -> None:
        self._work = work
        self.looker = Consumer({"bootstrap.servers": bootstrap, "group.id": "looker"})
        self._storage = work / "storage"
        databases = whiteballoon.urls(whiteballoon.create(shape))
        places = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "SNAPSHOT_STORAGE_DIR": str(self._storage)}
        self._env = {**os.environ, **databases, **places}
        self._bootstrap = bootstrap
        self._broker = broker_pid
        self._runs = 0
        self._events = 0
        self._unkilled = 0.0
        right = work / "right"
        stand.ended("wb", "signal-profile", "snapshot", "--all", "--output-dir", str(right), env=self._env)
        self._right_folder = right
        files = (json.loads(path.read_bytes()) for path in right.glob("*.json"))
        self._right = {(one["user_id"], one["group_slug"]): one for one in files}
        self._comments = sum(one["message_count"] for one in self._right.values())

    def relay(self, client: str) -> Figures:
        """The whole history into empty topics."""
        empty(self._bootstrap)
        stand.ended("snapshot-admin", "topics", "--partitions", str(_PARTITIONS), env=self._env)
        with stand.redis(self._work / "relay") as server:
            env = {**self._env, "REDIS_URL": server.url, "KAFKA_CLIENT": client}
            cost = self._measured(("snapshot-relay", "--until-caught-up"), env=env, redis_pid=server.pid)
        self._events = sum(event_ends(KafkaSettings(bootstrap_servers=self._bootstrap)).values())
        return self._figures(cost)

    def filled(self) -> None:
        """Have the events there, where no relay was measured."""
        if not self._events:
            self.relay(CLIENTS[0])

    def limit(self, client: str, mode: str) -> Figures:
        """See `benchmarks.programs.limits`."""
        self.filled()
        words = (sys.executable, "-m", "benchmarks.programs.limits", client, mode)
        return self._figures(self._measured(words, env=self._env))

    def consumer(self, client: str, processes: int = 1) -> Figures:
        """From an empty store to the end, with files and announcements."""
        self.filled()
        with stand.redis(self._work / "store") as server:
            empty_store = _memory(server)
            env, out, since = self._member(server, client), self._work / "out", self._ends(SNAPSHOT_CHANGED)
            commands = [(*_CONSUMER, "--output-dir", str(out))] * processes
            cost = self._measured(*commands, env=env, redis_pid=server.pid)
            stored = (_memory(server) - empty_store) / self._comments
        wrong = stand.differing(self._right_folder, out) + self._wrong(SNAPSHOT_CHANGED, since)
        shutil.rmtree(out)
        if processes == 1 and client == CLIENTS[0]:
            self._unkilled = cost.wall
        return {**self._figures(cost), "stored": stored, "wrong": wrong}

    def without_files(self, client: str) -> Figures:
        """The same, announcing only: see `benchmarks.programs.without_files`."""
        self.filled()
        with stand.redis(self._work / "store") as server:
            env, since = self._member(server, client), self._ends(SNAPSHOT_CHANGED)
            cost = self._measured(_WITHOUT_FILES, env=env, redis_pid=server.pid)
        return {**self._figures(cost), "wrong": self._wrong(SNAPSHOT_CHANGED, since)}

    def killed(self) -> Figures:
        """Kill -9 of the only consumer half way, and its successor: seconds to the end, beside those without a kill.

        Expected is the rest's share of the unkilled seconds, and the time until the killed one's membership is over.
        """
        if not self._unkilled:
            self.consumer(CLIENTS[0])
        with stand.redis(self._work / "store") as server:
            env, out, since = self._member(server, CLIENTS[0]), self._work / "out", self._ends(SNAPSHOT_CHANGED)
            words = (*_CONSUMER, "--output-dir", str(out))
            with Started(*words, env=env, log=self._work / "killed.log") as first, self._committed(env) as committed:
                first.until(lambda: committed() >= self._events / 2, 3600)
                first.kill()
                left = 1 - committed() / self._events
            began = time.monotonic()
            stand.ended(*words, env=env)
            seconds = time.monotonic() - began
        wrong = stand.differing(self._right_folder, out) + self._wrong(SNAPSHOT_CHANGED, since)
        shutil.rmtree(out)
        expected = self._unkilled * left + SourceOptions().session_timeout
        return {"seconds": seconds, "expected": expected, "wrong": wrong}

    def peer(self, prepare: Prepare) -> Figures:
        """One of the peers, until it has announced all that is right. Raises MissingPeerError."""
        self.filled()
        self._runs += 1
        out, state = f"out-{self._runs}", self._work / f"state-{self._runs}"
        state.mkdir()
        job = prepare(state, out)
        with self._created(out):
            cost, wrong = stand.measured_until_complete(
                job.words,
                env=job.environment,
                cwd=state,
                log=self._work / "peer.log",
                servers=Servers(broker=self._broker),
                produced=lambda: sum(self._ends(out).values()),
                wrong=lambda: self._wrong_of_peer(out),
            )
        shutil.rmtree(state)
        return {**self._figures(cost), "wrong": wrong}

    def _member(self, server: RedisServer, client: str) -> dict[str, str]:
        """The environment of a consumer that nobody knows yet."""
        self._runs += 1
        shutil.rmtree(self._storage, ignore_errors=True)
        ours = {"REDIS_URL": server.url, "KAFKA_CLIENT": client, "KAFKA_GROUP_ID": f"run-{self._runs}"}
        return {**self._env, **ours}

    def _measured(self, *commands: Sequence[str], env: Mapping[str, str], redis_pid: int | None = None) -> Cost:
        servers = Servers(redis_pid, self._broker)
        return stand.measured(*commands, env=env, log=self._work / "log", servers=servers)

    def _figures(self, cost: Cost) -> dict[str, float]:
        per = 1e6 / self._events
        return {
            "cpu": cost.cpu * per,
            "redis": cost.redis * per,
            "broker": cost.broker * per,
            "rate": self._events / cost.wall,
            "memory": cost.memory,
            "events": self._events,
            "profiles": len(self._right),
        }

    @contextmanager
    def _committed(self, env: Mapping[str, str]) -> Iterator[Callable[[], int]]:
        """How many events the group has done with."""
        topics = [
            TopicPartition(topic, part) for topic in (COMMENT_CREATED, INSIGHT_CREATED) for part in range(_PARTITIONS)
        ]
        member = Consumer({"bootstrap.servers": self._bootstrap, "group.id": env["KAFKA_GROUP_ID"]})
        try:
            yield lambda: sum(max(one.offset, 0) for one in member.committed(topics, timeout=10))
        finally:
            member.close()

    def _ends(self, topic: str) -> dict[int, int]:
        parts = range(_PARTITIONS)
        return {part: self.looker.get_watermark_offsets(TopicPartition(topic, part), timeout=10)[1] for part in parts}

    @contextmanager
    def _created(self, topic: str) -> Iterator[None]:
        client = AdminClient({"bootstrap.servers": self._bootstrap})
        client.create_topics([NewTopic(topic, _PARTITIONS, 1)])[topic].result(30)
        wait_until(lambda: self._is_led(topic), f"leaders of {topic}")
        yield
        client.delete_topics([topic])[topic].result(30)

    def _is_led(self, topic: str) -> bool:
        try:
            return not any(self._ends(topic).values())
        except KafkaException as error:
            if error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION:
                raise
            return False

    def _wrong(self, topic: str, since: Mapping[int, int]) -> int:
        """How many profiles are announced otherwise than they should be."""
        announced = self._announced(topic, since)
        differing = [key for key, right in self._right.items() if announced.get(key) != right]
        return len(differing) + len(announced.keys() - self._right)

    def _wrong_of_peer(self, topic: str) -> int:
        """The same by what a peer counts, which takes no notice of deletions."""
        right = self._counted
        announced = self._announced(topic, {})
        counts = {key: tuple(one[name] for name in _OF_PEERS) for key, one in announced.items()}
        return sum(counts.get(key) != one for key, one in right.items()) + len(counts.keys() - right)

    @cached_property
    def _counted(self) -> dict[_Key, tuple[object, ...]]:
        """What the events themselves say of each profile: comments, first, last, requests."""
        found: dict[_Key, dict[int, tuple[str, int]]] = defaultdict(dict)
        for value in self._messages(COMMENT_CREATED, {}):
            event = _decode(value)
            found[event.user_id, event.group_slug][event.comment_id] = event.created_at, event.help_request_id
        return {key: _counts(list(comments.values())) for key, comments in found.items()}

    def _announced(self, topic: str, since: Mapping[int, int]) -> dict[_Key, dict[str, Any]]:
        """The last snapshot of each profile."""
        snapshots = (msgspec.json.decode(value)["snapshot"] for value in self._messages(topic, since))
        return {(one["user_id"], one["group_slug"]): one for one in snapshots}

    def _messages(self, topic: str, since: Mapping[int, int]) -> Iterator[bytes]:
        """The values of a topic, up to its present end."""
        ends = {part: end for part, end in self._ends(topic).items() if end > since.get(part, 0)}
        reader = Consumer({"bootstrap.servers": self._bootstrap, "group.id": "reader", "enable.auto.commit": False})
        reader.assign([TopicPartition(topic, part, since.get(part, 0)) for part in ends])
        until = time.monotonic() + _READING_SECONDS
        try:
            while ends and time.monotonic() < until:
                for message in reader.consume(10_000, 0.5):
                    part, offset, value = message.partition(), message.offset(), message.value()
                    if message.error() is None and value is not None:
                        yield value
                    if part in ends and offset is not None and offset + 1 >= ends[part]:
                        del ends[part]
        finally:
            reader.close()


def _counts(comments: Sequence[tuple[str, int]]) -> tuple[object, ...]:
    moments = [moment for moment, _request in comments]
    return len(comments), min(moments), max(moments), sorted({request for _moment, request in comments})


def _memory(server: RedisServer) -> int:
    with redis.Redis.from_url(server.url) as client:
        return int(client.info("memory")["used_memory"])


ROWS: Mapping[str, Callable[[Stream], Figures]] = {
    **{f"relay, backfill, {client}": methodcaller("relay", client) for client in reversed(CLIENTS)},
    **{f"{what}, {client}": methodcaller("limit", client, mode) for client in CLIENTS for what, mode in LIMITS.items()},
    **{f"consumer, {client}": methodcaller("consumer", client) for client in CLIENTS},
    **{f"consumer without files, {client}": methodcaller("without_files", client) for client in CLIENTS},
    "two consumers, librdkafka": methodcaller("consumer", CLIENTS[0], 2),
    **{peer: methodcaller("peer", prepare) for peer, prepare in PEERS.items()},
    KILL: methodcaller("killed"),
}
"""All that can be measured on one stream."""


@contextmanager
def opened(work: Path, shape: Shape) -> Iterator[Stream]:
    """Start the servers."""
    with stand.broker(work, stand.PORT) as broker:
        stream = Stream(work, shape, broker.bootstrap, broker.pid)
        yield stream
        stream.looker.close()

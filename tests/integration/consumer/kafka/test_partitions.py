"""Partitions added under a running consumer: kafka-python 3.0.12 stalls silently there."""

import time
from collections.abc import Iterator

import msgspec
import pytest
from kafka import KafkaAdminClient
from structlog.testing import capture_logs

from consumer.kafka.kafka_python import internals
from consumer.kafka.source import KafkaSource
from snapshot.kafka.settings import KAFKA_PYTHON
from support.feeds import QUICK, KafkaFeed, begin, comments, ids, wait_for_generation
from support.process import wait_until

# Without `keep_rejoin_alive`, polls of 5 ms while the new partitions are noticed stall 3 times in 3, and longer polls
# don't repair that.
SHORT_POLLS = msgspec.structs.replace(QUICK, min_poll=0.005)
SECONDS_OF_SHORT_POLLS = 3.0  # metadata are a second old at most


@pytest.fixture
def feed(fresh_kafka: str, kafka_client: str) -> Iterator[KafkaFeed]:
    found = KafkaFeed(fresh_kafka, SHORT_POLLS, kafka_client)
    yield found
    found.close()


def test_added_partitions_are_assigned_and_read(feed: KafkaFeed) -> None:
    feed.publish(comments(range(1, 11)))
    source = feed.open()
    wait_for_generation(source)
    add_partitions(feed, 6)
    read_all_of(source, feed, partitions=12)


@pytest.mark.parametrize("kafka_client", [KAFKA_PYTHON], indirect=True)
def test_the_watchdog_recreates_a_stalled_consumer(feed: KafkaFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(internals, "keep_rejoin_alive", lambda _: None)
    feed.options = msgspec.structs.replace(SHORT_POLLS, stall_limit=5.0)  # after the short polls
    source = feed.open()
    wait_for_generation(source)
    add_partitions(feed, 6)
    with capture_logs() as logged:
        read_all_of(source, feed, partitions=12)
    assert source.recreated == feed.metrics.counts["signal_glaze.source_remade"] == 1
    assert {
        "event": "recreating the Kafka consumer",
        "reason": "no assignment for 5 s",
        "log_level": "warning",
    } in logged


def add_partitions(feed: KafkaFeed, partitions: int) -> None:
    with KafkaAdminClient(bootstrap_servers=feed.settings.bootstrap_servers) as client:
        client.create_partitions(dict.fromkeys(("comment-created", "insight-created"), partitions))


def read_all_of(source: KafkaSource, feed: KafkaFeed, partitions: int) -> None:
    end = time.monotonic() + SECONDS_OF_SHORT_POLLS
    while time.monotonic() < end:
        source.poll(0)

    def all_there() -> bool:
        source.poll(0.5)
        return len(source.assignment().partitions) == partitions

    wait_until(all_there, "all partitions to be assigned", 30)
    begin(source)
    feed.publish(comments(range(100, 200)))
    found: set[int] = set()

    def all_read() -> bool:
        found.update(ids([source.poll(0.5)]))
        return found >= set(range(100, 200))

    wait_until(all_read, "events in the added partitions", 30)

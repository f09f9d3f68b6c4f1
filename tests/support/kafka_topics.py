"""Putting events into Kafka and reading what came out, in tests."""

import json
from contextlib import closing, suppress
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import MetadataEmptyBrokerList

from consumer.kafka.topics import ensure_topics
from consumer.relay.event_producer import EventProducer
from projections.comments.rows import events
from projections.database.database import Database
from snapshot.kafka.producer import Producer
from snapshot.kafka.settings import KafkaSettings
from support.process import wait_until

PAGE = 5_000


def publish_history(database: Database, bootstrap: str) -> int:
    """Publish all that a full read of the database says; how many events that was."""
    settings = KafkaSettings(bootstrap_servers=bootstrap)
    ensure_topics(settings)
    producer = EventProducer(Producer(settings, delivery_timeout=30))
    groups, after, sent = database.groups(), -1, 0
    while page := database.comments_after(after, PAGE):
        after = page[-1].comment_id
        analyses = {row.comment_id: row for row in database.analyses_between(page[0].comment_id, after)}
        found = list(events(page, analyses, groups, database.clock()))
        producer.send(found)
        sent += len(found)
    producer.close()
    return sent


def put(bootstrap: str, topic: str, *values: bytes) -> None:
    """Produce plain values."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    for value in values:
        producer.send(topic, key=b"1", value=value)
    producer.flush(10)
    producer.close()


def everything(bootstrap: str, topic: str) -> list[Any]:
    """All records of a topic, in the order of their partitions."""
    options = {"auto_offset_reset": "earliest", "consumer_timeout_ms": 3000}
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, **options)) as consumer:
        partitions = [TopicPartition(topic, number) for number in sorted(_partitions(consumer, topic))]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        found: list[Any] = []

        def read() -> bool:
            for records in consumer.poll(timeout_ms=500).values():
                found.extend(records)
            return all((consumer.position(one, timeout_ms=5_000) or 0) >= end for one, end in ends.items())

        wait_until(lambda: not any(ends.values()) or read(), f"all of {topic} up to {ends}")  # else it waits for ever
    return found


def _partitions(consumer: KafkaConsumer, topic: str) -> set[int]:
    """A broker that stood still names no broker for a moment, not even itself."""
    found: list[set[int] | None] = []

    def ask() -> bool:
        with suppress(MetadataEmptyBrokerList):
            found.append(consumer.partitions_for_topic(topic))
        return bool(found)

    wait_until(ask, "a broker to be named")
    return found[0] or set()


def announced(bootstrap: str) -> list[tuple[str, dict[str, Any] | None]]:
    """Key and value of every announcement."""
    records = everything(bootstrap, "snapshot-changed")
    return [(one.key.decode(), None if one.value is None else json.loads(one.value)) for one in records]

"""What Kafka says of partitions: committed, first and last offsets, ids of their topics, and all that they hold.

Each call has a time limit.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition, errors

from consumer.kafka import internals
from consumer.kafka.errors import as_kafka_error
from consumer.kafka.group import release
from consumer.kafka.options import READER_OPTIONS
from consumer.kafka.records import name_of
from consumer.source import Offsets
from projections.errors import OperatorError
from snapshot.announce.announcement import SNAPSHOT_CHANGED
from snapshot.kafka.client import connect, one_line
from snapshot.kafka.settings import KafkaSettings

READ_SECONDS = 30.0
"""Without an answer for so long, reading is given up."""
_WAIT = 500  # milliseconds


def look_up(consumer: KafkaConsumer, partitions: Sequence[TopicPartition], seconds: float) -> Mapping[str, Offsets]:
    """Look up all that is known of assigned partitions. Raises KafkaError, also where an answer lacks a partition."""
    with as_kafka_error():
        internals.refresh(consumer, seconds)
        ids = topic_ids(consumer, {one.topic for one in partitions})
        earliest = consumer.beginning_offsets(partitions, timeout_ms=seconds * 1000)
        ends = consumer.end_offsets(partitions, timeout_ms=seconds * 1000)
        return {
            name_of(one): Offsets(
                consumer.committed(one, timeout_ms=seconds * 1000), earliest[one], ends[one], ids[one.topic]
            )
            for one in partitions
        }


def look_up_ends(
    consumer: KafkaConsumer, partitions: Sequence[TopicPartition], seconds: float
) -> dict[TopicPartition, int]:
    """Look up where partitions end. Raises KafkaError, also where the answer lacks a partition."""
    if not partitions:
        return {}
    with as_kafka_error():
        found = consumer.end_offsets(partitions, timeout_ms=seconds * 1000)
        return {one: found[one] for one in partitions}


def topic_ids(consumer: KafkaConsumer, topics: Iterable[str]) -> dict[str, str]:
    """Give the ids of the topics that the last metadata had."""
    ids = ((topic, internals.topic_id(consumer, topic)) for topic in topics)
    return {topic: found for topic, found in ids if found is not None}


def read_whole(
    settings: KafkaSettings, topics: Sequence[str], clock: Callable[[], float] = time.monotonic
) -> Iterator[Any]:
    """Read all records that these topics have now. Raises KafkaError, and OperatorError where a topic is missing."""
    consumer = connect(KafkaConsumer, settings, **READER_OPTIONS)
    try:
        with as_kafka_error():
            missing = internals.unknown_topics(consumer, topics, READ_SECONDS)
            if missing:
                raise OperatorError(f"Kafka has no topic {missing[0]}: create it with `snapshot-admin topics`")
            all_of_them = [TopicPartition(one, each) for one in topics for each in consumer.partitions_for_topic(one)]
            starts = consumer.beginning_offsets(all_of_them, timeout_ms=READ_SECONDS * 1000)
            ends = look_up_ends(consumer, all_of_them, READ_SECONDS)
            consumer.assign(all_of_them)
            for partition in all_of_them:
                consumer.seek(partition, starts[partition])
            yield from _poll(consumer, ends, clock)
    finally:
        release(consumer)


def _poll(consumer: KafkaConsumer, ends: dict[TopicPartition, int], clock: Callable[[], float]) -> Iterator[Any]:
    moved_at, before = clock(), internals.positions(consumer)
    while any(before[partition] < end for partition, end in ends.items()):
        for partition, records in consumer.poll(timeout_ms=_WAIT).items():
            yield from (record for record in records if record.offset < ends[partition])
        now = internals.positions(consumer)
        if now != before:
            moved_at, before = clock(), now
        elif clock() - moved_at > READ_SECONDS:
            raise errors.KafkaTimeoutError(f"no answer for {READ_SECONDS:.0f} s")


def announced_slugs(settings: KafkaSettings, user_id: int) -> set[str]:
    """The groups of which `snapshot-changed` still says that the user has a snapshot. Raises OperatorError."""
    prefix, found = f"{user_id}:", set[str]()
    try:
        for record in read_whole(settings, [SNAPSHOT_CHANGED]):
            key = (record.key or b"").decode(errors="replace")
            if key.startswith(prefix):
                (found.discard if record.value is None else found.add)(key.removeprefix(prefix))
    except errors.KafkaError as error:
        raise OperatorError(
            f"{SNAPSHOT_CHANGED} can't be read at Kafka {settings.bootstrap_servers} ({one_line(repr(error))}): see "
            "the broker's log, and grant this user READ on it"
        ) from error
    return found

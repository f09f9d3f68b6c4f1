"""How far positions are behind what Kafka has: in events, and in the time of the first that is not read."""

import time
from collections.abc import Mapping
from typing import NamedTuple

from kafka import KafkaConsumer, TopicPartition, errors

from consumer.dead_letters.dead_letters import dead_topic
from consumer.kafka.errors import as_kafka_error
from consumer.kafka.group import release
from consumer.kafka.options import READER_OPTIONS
from consumer.kafka.records import name_of
from projections.comments.events import TOPICS
from projections.errors import OperatorError
from snapshot.kafka.client import connect, one_line
from snapshot.kafka.settings import KafkaSettings

_SECONDS = 5.0


class Lag(NamedTuple):
    """A partition's position and end; `since` is the time (ms since 1970) of the first message between, if any."""

    position: int
    end: int
    since: int | None


class Backlog(NamedTuple):
    """What waits: the events of each partition (`topic/number`), and how many dead letters there are."""

    partitions: Mapping[str, Lag]
    dead_letters: int


def backlog(settings: KafkaSettings, positions: Mapping[str, int]) -> Backlog:
    """Look up what lies behind these positions; a partition without one counts from its start.

    Raises OperatorError where Kafka doesn't answer.
    """
    consumer = connect(KafkaConsumer, settings, **READER_OPTIONS, max_poll_records=1)
    try:
        with as_kafka_error():
            return _backlog(consumer, positions)
    except errors.KafkaError as error:
        raise OperatorError(
            f"Kafka at {settings.bootstrap_servers} doesn't say how far its topics are ({one_line(repr(error))}): see "
            "the broker's log, and grant this user READ and DESCRIBE on the topics"
        ) from error
    finally:
        release(consumer)


def _backlog(consumer: KafkaConsumer, positions: Mapping[str, int]) -> Backlog:
    topics = [*TOPICS, *map(dead_topic, TOPICS)]
    every = [TopicPartition(topic, number) for topic in topics for number in consumer.partitions_for_topic(topic) or ()]
    starts = consumer.beginning_offsets(every, timeout_ms=_SECONDS * 1_000)
    ends = consumer.end_offsets(every, timeout_ms=_SECONDS * 1_000)
    at = {one: max(positions.get(name_of(one), 0), starts[one]) for one in every if one.topic in TOPICS}
    since = _times(consumer, {one: offset for one, offset in at.items() if offset < ends[one]})
    dead = sum(ends[one] - starts[one] for one in every if one.topic not in TOPICS)
    return Backlog({name_of(one): Lag(offset, ends[one], since.get(one)) for one, offset in at.items()}, dead)


def _times(consumer: KafkaConsumer, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
    """The times of the first messages from these offsets on, of as many as come soon."""
    found: dict[TopicPartition, int] = {}
    consumer.assign(list(offsets))
    for partition, offset in offsets.items():
        consumer.seek(partition, offset)
    deadline = time.monotonic() + _SECONDS
    while len(found) < len(offsets) and time.monotonic() < deadline:
        for partition, records in consumer.poll(timeout_ms=500).items():
            found.setdefault(partition, records[0].timestamp)
            consumer.pause(partition)
    return found

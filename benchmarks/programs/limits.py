"""The limits of Python on the stream: all events polled; decoded too; folded in memory as well, with no store behind.

    python -m benchmarks.programs.limits kafka-python|librdkafka poll|decode|fold

KAFKA_BOOTSTRAP_SERVERS names the broker. Run by `benchmarks.measures.stream` as a process of its own.
"""

import os
import sys
from collections.abc import Iterator

from kafka import KafkaConsumer, TopicPartition

from projections.comments.events import COMMENT_CREATED, INSIGHT_CREATED, Event, decode
from projections.comments.register import HalfUpdate, half_of
from projections.profiles.fold import Slice, advance, transitions
from projections.profiles.head import Head
from snapshot.processes.spawn import raise_gc_thresholds

Messages = list[tuple[str, bytes]]
_MOST = 10_000


def _by_kafka_python(servers: str) -> Iterator[Messages]:
    consumer = KafkaConsumer(bootstrap_servers=servers, group_id=None, isolation_level="read_committed")
    topics = (COMMENT_CREATED, INSIGHT_CREATED)
    parts = [TopicPartition(topic, one) for topic in topics for one in sorted(consumer.partitions_for_topic(topic))]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    left = sum(consumer.end_offsets(parts).values())
    while left:
        messages = [
            (part.topic, record.value)
            for part, records in consumer.poll(500, max_records=_MOST).items()
            for record in records
        ]
        left -= len(messages)
        yield messages


def _by_librdkafka(servers: str) -> Iterator[Messages]:
    from confluent_kafka import OFFSET_BEGINNING, Consumer  # noqa: PLC0415 - only where it is asked for
    from confluent_kafka import TopicPartition as Partition  # noqa: PLC0415 - the same

    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": "limits", "enable.auto.commit": False, "fetch.queue.backoff.ms": 5}
    )
    metadata = consumer.list_topics(timeout=10).topics
    parts = [
        Partition(topic, one, OFFSET_BEGINNING)
        for topic in (COMMENT_CREATED, INSIGHT_CREATED)
        for one in metadata[topic].partitions
    ]
    left = sum(consumer.get_watermark_offsets(one, timeout=10)[1] for one in parts)
    consumer.assign(parts)
    while left:
        messages = [
            (message.topic() or "", message.value() or b"")
            for message in consumer.consume(_MOST, 0.2)
            if message.error() is None
        ]
        left -= len(messages)
        yield messages


class _Memory:
    """The product's own fold, with everything it needs always at hand."""

    def __init__(self) -> None:
        self._slices: dict[tuple[int, str], Slice] = {}

    def apply(self, events: list[Event]) -> None:
        grouped: dict[tuple[int, str], list[HalfUpdate]] = {}
        for event in events:
            grouped.setdefault((event.user_id, event.group_slug), []).append(half_of(event))
        for key, halves in grouped.items():
            one = self._slices.setdefault(key, Slice(Head(), {}, {}, {}))
            changes = advance(one, transitions(one.registers, halves))
            one.registers.update(changes.registers)
            for known, changed in ((one.links, changes.links), (one.tags, changes.tags)):
                for name, label in changed.items():
                    if label is None:
                        known.pop(name, None)
                    else:
                        known[name] = label


def main() -> None:
    """Read all there is, and end."""
    client, mode = sys.argv[1:]
    servers = os.environ["KAFKA_BOOTSTRAP_SERVERS"]
    raise_gc_thresholds()
    memory = _Memory()
    for messages in _by_librdkafka(servers) if client == "librdkafka" else _by_kafka_python(servers):
        if mode == "poll":
            continue
        events = [decode(topic, value) for topic, value in messages]
        if mode == "fold":
            memory.apply(events)
    os._exit(0)  # what the clients do at their end is not measured


if __name__ == "__main__":
    main()

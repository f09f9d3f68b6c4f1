"""What Kafka says of partitions: committed, first and last offsets, ids of their topics. Each call has a time limit."""

from collections.abc import Iterable, Mapping, Sequence

from kafka import KafkaConsumer, TopicPartition

from consumer.kafka.kafka_python import internals
from consumer.kafka.kafka_python.errors import as_kafka_error
from consumer.kafka.kafka_python.records import name_of
from consumer.source import Offsets


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

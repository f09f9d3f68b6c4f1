"""The announcements that Kafka keeps, and those that come: for an operator who looks."""

from collections.abc import Iterator, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition, errors

from consumer.kafka.errors import as_kafka_error
from consumer.kafka.group import release
from consumer.kafka.offsets import read_whole
from consumer.kafka.options import READER_OPTIONS
from projections.errors import OperatorError
from snapshot.announce.announcement import SNAPSHOT_CHANGED, Announcement, parse
from snapshot.kafka.client import connect, one_line
from snapshot.kafka.settings import KafkaSettings

_WAIT = 500  # milliseconds


def kept(settings: KafkaSettings) -> Iterator[Announcement]:
    """All announcements that the topic has now, by partition, the oldest first. Raises OperatorError."""
    try:
        yield from filter(None, map(_announcement, read_whole(settings, [SNAPSHOT_CHANGED])))
    except errors.KafkaError as error:
        raise _refused(settings, error) from error


def follow(settings: KafkaSettings) -> Iterator[Announcement | None]:
    """Those that are announced from now on, and None whenever there is none at present. Raises OperatorError."""
    consumer = connect(KafkaConsumer, settings, **READER_OPTIONS)
    try:
        with as_kafka_error():
            numbers = consumer.partitions_for_topic(SNAPSHOT_CHANGED) or ()
            every = [TopicPartition(SNAPSHOT_CHANGED, number) for number in numbers]
            if not every:
                raise OperatorError(f"Kafka has no topic {SNAPSHOT_CHANGED}: create it with `snapshot-admin topics`")
            consumer.assign(every)
            for partition, end in consumer.end_offsets(every).items():
                consumer.seek(partition, end)
            while True:
                for records in consumer.poll(timeout_ms=_WAIT).values():
                    yield from filter(None, map(_announcement, records))
                yield None
    except errors.KafkaError as error:
        raise _refused(settings, error) from error
    finally:
        release(consumer)


def _announcement(record: Any) -> Announcement | None:  # noqa: ANN401 - kafka-python has no types
    headers: Mapping[str, bytes] = dict(record.headers)
    return parse(record.key, record.value, headers)


def _refused(settings: KafkaSettings, error: errors.KafkaError) -> OperatorError:
    return OperatorError(
        f"{SNAPSHOT_CHANGED} can't be read at Kafka {settings.bootstrap_servers} ({one_line(repr(error))}): see the "
        "broker's log, and grant this user READ on it"
    )

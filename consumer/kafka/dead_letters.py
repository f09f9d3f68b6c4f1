"""The dead letters that are kept on Kafka, read and removed for an operator."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kafka import KafkaAdminClient, TopicPartition, errors

from consumer.dead_letters.dead_letters import DeadLetter, dead_topic
from consumer.dead_letters.kafka import as_message, read_message
from consumer.kafka.errors import as_kafka_error
from consumer.kafka.offsets import READ_SECONDS, read_whole
from consumer.kafka.options import ADMIN_OPTIONS
from consumer.kafka.records import as_invalid
from projections.comments.events import TOPICS
from projections.errors import OperatorError
from snapshot.kafka.client import connect, one_line
from snapshot.kafka.producer import Producer
from snapshot.kafka.settings import KafkaSettings


class KeptOnKafka:
    """`consumer.dead_letters.dead_letters.KeptDeadLetters` of both event topics."""

    def __init__(self, settings: KafkaSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock

    def letters(self) -> Iterator[DeadLetter]:
        """All that were there when this was first asked."""
        return (read_message(as_invalid(record, "unknown")) for record in self._records())

    def drop(self, unwanted: Callable[[DeadLetter], bool]) -> int:
        """Remove some of those that are there now; how many that were.

        Kafka deletes what is oldest only. So what is kept among it is first appended again, with its time; a crash in
        between leaves it twice, which does no harm.
        """
        dropped: dict[TopicPartition, int] = {}
        ahead: dict[TopicPartition, list[Any]] = {}
        kept_again: list[Any] = []
        count = 0
        for record in self._records():
            partition = TopicPartition(record.topic, record.partition)
            if unwanted(read_message(as_invalid(record, "unknown"))):
                count += 1
                dropped[partition] = record.offset + 1
                kept_again += ahead.pop(partition, [])
            else:
                ahead.setdefault(partition, []).append(record)
        self._append(kept_again)
        self._delete(dropped)
        return count

    def _append(self, records: Sequence[Any]) -> None:
        if not records:
            return
        messages = [
            as_message(read_message(as_invalid(record, "unknown")))._replace(timestamp=record.timestamp)
            for record in records
        ]
        producer = Producer(self._settings, delivery_timeout=READ_SECONDS)
        try:
            failed = [error for error in producer.send(messages) if error is not None]
        finally:
            producer.close()
        if failed:
            raise self._refused(failed[0])

    def _delete(self, offsets: dict[TopicPartition, int]) -> None:
        if not offsets:
            return
        client = connect(KafkaAdminClient, self._settings, **ADMIN_OPTIONS)
        try:
            with as_kafka_error():
                client.delete_records(offsets)
        except errors.KafkaError as error:
            raise self._refused(error) from error
        finally:
            client.close()

    def _records(self) -> Iterator[Any]:
        try:
            yield from read_whole(self._settings, [dead_topic(topic) for topic in TOPICS], self._clock)
        except errors.KafkaError as error:
            raise self._refused(error) from error

    def _refused(self, error: BaseException) -> OperatorError:
        return OperatorError(
            f"the dead letters can't be read or removed at Kafka {self._settings.bootstrap_servers} "
            f"({one_line(repr(error))}): see its log, and grant this user READ, WRITE and DELETE on their topics"
        )

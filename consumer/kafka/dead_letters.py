"""The dead letters that are kept on Kafka, read and removed for an operator."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from consumer.dead_letters.dead_letters import DeadLetter, dead_topic
from consumer.dead_letters.kafka import as_message, read_message
from consumer.kafka.clients import open_cluster
from consumer.kafka.cluster import READ_SECONDS, Cluster, ClusterError, Record
from projections.comments.events import TOPICS
from projections.errors import OperatorError
from snapshot.kafka.producer import Producer
from snapshot.kafka.settings import KafkaSettings

_DEAD_TOPICS = [dead_topic(topic) for topic in TOPICS]


class KeptOnKafka:
    """`consumer.dead_letters.dead_letters.KeptDeadLetters` of both event topics."""

    def __init__(self, settings: KafkaSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock

    def letters(self) -> Iterator[DeadLetter]:
        """All that were there when this was first asked."""
        with self._opened() as cluster:
            for record in cluster.records(_DEAD_TOPICS):
                yield read_message(record.message)

    def drop(self, unwanted: Callable[[DeadLetter], bool]) -> int:
        """Remove some of those that are there now; how many that were.

        Kafka deletes what is oldest only. So what is kept among it is first appended again, with its time; a crash in
        between leaves it twice, which does no harm.
        """
        dropped: dict[str, int] = {}
        ahead: dict[str, list[Record]] = {}
        kept_again: list[Record] = []
        count = 0
        with self._opened() as cluster:
            for record in cluster.records(_DEAD_TOPICS):
                partition = f"{record.message.topic}/{record.message.partition}"
                if unwanted(read_message(record.message)):
                    count += 1
                    dropped[partition] = record.message.offset + 1
                    kept_again += ahead.pop(partition, [])
                else:
                    ahead.setdefault(partition, []).append(record)
            self._append(kept_again)
            if dropped:
                cluster.delete_records(dropped)
        return count

    def _append(self, records: Sequence[Record]) -> None:
        if not records:
            return
        messages = [as_message(read_message(record.message))._replace(timestamp=record.timestamp) for record in records]
        producer = Producer(self._settings, delivery_timeout=READ_SECONDS)
        try:
            failed = [error for error in producer.send(messages) if error is not None]
        finally:
            producer.close()
        if failed:
            raise self._refused(failed[0])

    @contextmanager
    def _opened(self) -> Iterator[Cluster]:
        with open_cluster(self._settings, self._clock) as cluster:
            try:
                yield cluster
            except ClusterError as error:
                raise self._refused(error) from error

    def _refused(self, error: Exception) -> OperatorError:
        return OperatorError(
            f"the dead letters can't be read or removed at Kafka {self._settings.bootstrap_servers} ({error}): see its "
            "log, and grant this user READ, WRITE and DELETE on their topics"
        )

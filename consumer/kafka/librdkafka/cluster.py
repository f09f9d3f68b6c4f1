"""Looking at topics and records with librdkafka."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from contextlib import contextmanager
from functools import cached_property
from typing import TypeVar

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType

from consumer.kafka.cluster import (
    READ_SECONDS,
    ClusterError,
    Existing,
    Record,
    TooFewBrokersError,
    Topic,
    UnansweredError,
    no_topics,
    split,
)
from consumer.kafka.librdkafka.options import CONSUMER_OPTIONS, READER_GROUP
from consumer.kafka.librdkafka.records import as_invalid
from snapshot.kafka.librdkafka.client import connect, text_of
from snapshot.kafka.settings import KafkaSettings

_WAIT = 0.5
_BATCH = 1_000
_GRACE = 1.0
_WITHOUT_LEADER = {
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.OFFSET_NOT_AVAILABLE,
}
_UNANSWERED = _WITHOUT_LEADER | {
    KafkaError._TIMED_OUT,  # noqa: SLF001 - names of librdkafka's, as the next two
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
    KafkaError.REQUEST_TIMED_OUT,
}
T = TypeVar("T")


class LibrdkafkaCluster:
    """`consumer.kafka.cluster.Cluster` over librdkafka; each of its two clients connects when it is first needed."""

    def __init__(
        self, settings: KafkaSettings, clock: Callable[[], float], sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._sleep = sleep

    @cached_property
    def _admin(self) -> AdminClient:
        return connect(AdminClient, self._settings, {})

    def topics(self) -> Mapping[str, Existing]:
        with errors():
            found = self._admin.list_topics(timeout=READ_SECONDS).topics
        return {
            name: Existing(len(topic.partitions), min(len(one.replicas) for one in topic.partitions.values()))
            for name, topic in found.items()
            if topic.partitions
        }

    def create(self, topics: Sequence[Topic], replication: int | None) -> list[str]:
        wanted = [
            NewTopic(topic.name, topic.partitions, replication or -1, config=dict(topic.configuration))
            for topic in topics
        ]
        created = []
        with errors():
            for name, future in self._admin.create_topics(wanted, request_timeout=READ_SECONDS).items():
                try:
                    answer(future)
                    created.append(name)
                except KafkaException as error:
                    if _code(error) == KafkaError.INVALID_REPLICATION_FACTOR:
                        raise TooFewBrokersError(f"{name}: {text_of(error)}") from error
                    if _code(error) != KafkaError.TOPIC_ALREADY_EXISTS:
                        raise ClusterError(f"{name}: {text_of(error)}") from error
            self._wait_for({topic.name for topic in topics})
        return created

    def configurations(self, topics: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        wanted = [ConfigResource(ResourceType.TOPIC, name) for name in topics]
        with errors():
            asked = self._admin.describe_configs(wanted, request_timeout=READ_SECONDS)
            return {
                resource.name: {key: entry.value for key, entry in answer(future).items()}
                for resource, future in asked.items()
            }

    def starts(self, topics: Sequence[str]) -> Mapping[str, int]:
        return self._offsets(topics, OffsetSpec.earliest())

    def ends(self, topics: Sequence[str]) -> Mapping[str, int]:
        return self._offsets(topics, OffsetSpec.latest())

    def records(self, topics: Sequence[str]) -> Iterator[Record]:
        with errors():
            partitions = self._partitions(topics)
            missing = [topic for topic in topics if topic not in {split(one)[0] for one in partitions}]
            if missing:
                raise no_topics(self._settings, missing)
        yield from self.between(self.starts(topics), self.ends(topics))

    def between(self, starts: Mapping[str, int], ends: Mapping[str, int]) -> Iterator[Record]:
        with errors():
            reader = connect(Consumer, self._settings, CONSUMER_OPTIONS | {"group.id": READER_GROUP})
            try:
                reader.assign([TopicPartition(*split(name), start) for name, start in starts.items()])
                yield from self._poll(reader, starts, ends)
            finally:
                reader.close()

    def delete_records(self, offsets: Mapping[str, int]) -> None:
        wanted = [TopicPartition(*split(name), offset) for name, offset in offsets.items()]
        with errors():
            for future in self._admin.delete_records(wanted, request_timeout=READ_SECONDS).values():
                answer(future)

    def close(self) -> None:
        self.__dict__.pop("_admin", None)

    def _offsets(self, topics: Sequence[str], wanted: OffsetSpec) -> Mapping[str, int]:
        """Ask again while a partition has no leader, as one has none that was just created; librdkafka does not."""
        deadline = self._clock() + READ_SECONDS
        with errors():
            while True:
                try:
                    return offsets(self._admin, self._partitions(topics), wanted, READ_SECONDS)
                except KafkaException as error:
                    if _code(error) not in _WITHOUT_LEADER or self._clock() > deadline:
                        raise
                self._sleep(_WAIT)

    def _partitions(self, topics: Sequence[str]) -> list[str]:
        found = self._admin.list_topics(timeout=READ_SECONDS).topics
        return [f"{topic}/{number}" for topic in topics if topic in found for number in found[topic].partitions]

    def _wait_for(self, topics: set[str]) -> None:
        deadline = self._clock() + READ_SECONDS
        while not topics <= self.topics().keys():
            if self._clock() > deadline:
                raise ClusterError(f"{', '.join(sorted(topics))}: created, and not there after {READ_SECONDS:.0f} s")

    def _poll(self, reader: Consumer, starts: Mapping[str, int], ends: Mapping[str, int]) -> Iterator[Record]:
        positions = dict(starts)
        moved_at = self._clock()
        while any(positions[name] < end for name, end in ends.items()):
            for message in reader.consume(_BATCH, _WAIT):
                name, error = f"{message.topic()}/{message.partition()}", message.error()
                if name not in ends:
                    continue  # an error of the group, which is none
                offset = message.offset() or 0
                if error is None:
                    if offset < ends[name]:
                        yield Record(as_invalid(message, "unknown"), message.timestamp()[1])
                    offset += 1
                elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - a name of librdkafka's
                    raise KafkaException(error)
                positions[name] = max(positions[name], offset)
                moved_at = self._clock()
            if self._clock() - moved_at > READ_SECONDS:
                raise UnansweredError(f"no answer for {READ_SECONDS:.0f} s")


def offsets(admin: AdminClient, partitions: Sequence[str], wanted: OffsetSpec, seconds: float) -> dict[str, int]:
    """Look up first or last offsets of partitions. Raises KafkaException, also where one is not answered."""
    if not partitions:
        return {}
    asked = admin.list_offsets(
        {TopicPartition(*split(name)): wanted for name in partitions},
        isolation_level=IsolationLevel.READ_COMMITTED,
        request_timeout=seconds,
    )
    return {f"{one.topic}/{one.partition}": answer(future, seconds).offset for one, future in asked.items()}


def answer(future: "Future[T]", seconds: float = READ_SECONDS) -> T:
    """Wait for an answer, which librdkafka bounds itself. Raises KafkaException."""
    try:
        return future.result(seconds + _GRACE)
    except LateError as error:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from error  # noqa: SLF001 - a name of librdkafka's


@contextmanager
def errors() -> Iterator[None]:
    """Turn librdkafka's errors into ClusterError."""
    try:
        yield
    except KafkaException as error:
        kind = UnansweredError if _code(error) in _UNANSWERED else ClusterError
        raise kind(text_of(error)) from error


def _code(error: KafkaException) -> int:
    code: int = error.args[0].code()
    return code

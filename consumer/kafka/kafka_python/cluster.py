"""Looking at topics and records with kafka-python."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition, errors
from kafka.admin import ConfigResource, ConfigResourceType

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
from consumer.kafka.kafka_python import internals
from consumer.kafka.kafka_python.errors import as_kafka_error
from consumer.kafka.kafka_python.group import release
from consumer.kafka.kafka_python.offsets import look_up_ends
from consumer.kafka.kafka_python.options import ADMIN_OPTIONS, READER_OPTIONS
from consumer.kafka.kafka_python.records import as_invalid, name_of
from snapshot.kafka.connection import one_line
from snapshot.kafka.kafka_python.client import connect
from snapshot.kafka.settings import KafkaSettings

_WAIT = 500  # milliseconds
_UNANSWERED = (
    errors.KafkaTimeoutError,
    errors.RequestTimedOutError,
    errors.KafkaConnectionError,
    errors.NodeNotReadyError,
)


class KafkaPythonCluster:
    """`consumer.kafka.cluster.Cluster` over kafka-python; each of its two clients connects when it is first needed."""

    def __init__(self, settings: KafkaSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._opened = ExitStack()

    @cached_property
    def _admin(self) -> KafkaAdminClient:
        client = connect(KafkaAdminClient, self._settings, **ADMIN_OPTIONS)
        self._opened.callback(client.close)
        return client

    @cached_property
    def _reader(self) -> KafkaConsumer:
        client = connect(KafkaConsumer, self._settings, **READER_OPTIONS)
        self._opened.callback(release, client)
        return client

    def topics(self) -> Mapping[str, Existing]:
        with _errors():
            return {
                topic["name"]: Existing(
                    len(topic["partitions"]), min(len(one["replica_nodes"]) for one in topic["partitions"])
                )
                for topic in self._admin.describe_topics()
                if topic["partitions"]
            }

    def create(self, topics: Sequence[Topic], replication: int | None) -> list[str]:
        request = {
            topic.name: {
                "num_partitions": topic.partitions,
                "replication_factor": replication or -1,
                "configs": dict(topic.configuration),
            }
            for topic in topics
        }
        with _errors():
            answer = self._admin.create_topics(request, raise_errors=False)
            created = []
            for topic in answer["topics"]:
                kind = errors.for_code(topic["error_code"])
                if kind is errors.NoError:
                    created.append(topic["name"])
                elif kind is not errors.TopicAlreadyExistsError:
                    raise kind(f"{topic['name']}: {topic.get('error_message')}")
            self._admin.wait_for_topics([topic.name for topic in topics])
        return created

    def configurations(self, topics: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
        with _errors():
            answer: Mapping[str, Mapping[str, Any]] = self._admin.describe_configs(resources, config_filter="all")
        return {name: {key: entry["value"] for key, entry in found.items()} for name, found in answer["topic"].items()}

    def ends(self, topics: Sequence[str]) -> Mapping[str, int]:
        with _errors():
            found = look_up_ends(self._reader, self._partitions(topics), READ_SECONDS)
            return {name_of(one): end for one, end in found.items()}

    def starts(self, topics: Sequence[str]) -> Mapping[str, int]:
        with _errors():
            partitions = self._partitions(topics)
            found = self._reader.beginning_offsets(partitions, timeout_ms=READ_SECONDS * 1000)
            return {name_of(one): start for one, start in found.items()}

    def records(self, topics: Sequence[str]) -> Iterator[Record]:
        with _errors():
            missing = internals.unknown_topics(self._reader, topics, READ_SECONDS)
        if missing:
            raise no_topics(self._settings, missing)
        yield from self.between(self.starts(topics), self.ends(topics))

    def between(self, starts: Mapping[str, int], ends: Mapping[str, int]) -> Iterator[Record]:
        with _errors():
            partitions = {name: TopicPartition(*split(name)) for name in starts}
            self._reader.assign(list(partitions.values()))
            for name, partition in partitions.items():
                self._reader.seek(partition, starts[name])
            for record in self._poll({partitions[name]: end for name, end in ends.items()}):
                yield Record(as_invalid(record, "unknown"), record.timestamp)

    def delete_records(self, offsets: Mapping[str, int]) -> None:
        with _errors():
            self._admin.delete_records({TopicPartition(*split(name)): offset for name, offset in offsets.items()})

    def close(self) -> None:
        self._opened.close()

    def _partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        return [
            TopicPartition(topic, number)
            for topic in topics
            for number in self._reader.partitions_for_topic(topic) or ()
        ]

    def _poll(self, ends: Mapping[TopicPartition, int]) -> Iterator[Any]:
        moved_at, before = self._clock(), internals.positions(self._reader)
        while any(before[partition] < end for partition, end in ends.items()):
            for partition, records in self._reader.poll(timeout_ms=_WAIT).items():
                yield from (record for record in records if record.offset < ends[partition])
            now = internals.positions(self._reader)
            if now != before:
                moved_at, before = self._clock(), now
            elif self._clock() - moved_at > READ_SECONDS:
                raise errors.KafkaTimeoutError(f"no answer for {READ_SECONDS:.0f} s")


@contextmanager
def _errors() -> Iterator[None]:
    try:
        with as_kafka_error():
            yield
    except errors.InvalidReplicationFactorError as error:
        raise TooFewBrokersError(one_line(error)) from error
    except errors.KafkaError as error:
        kind = UnansweredError if isinstance(error, _UNANSWERED) else ClusterError
        raise kind(one_line(repr(error))) from error

"""The topics in Kafka: creating those that are missing, comparing those that exist."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition, errors
from kafka.admin import ConfigResource, ConfigResourceType

from consumer.dead_letters.dead_letters import dead_topic
from consumer.kafka.options import ADMIN_OPTIONS, READER_OPTIONS
from consumer.kafka.records import name_of
from projections.comments.events import COMMENT_CREATED, INSIGHT_CREATED, TOPICS
from projections.errors import OperatorError
from snapshot.announce.announcement import SNAPSHOT_CHANGED
from snapshot.kafka.client import MAX_MESSAGE_BYTES, connect, one_line
from snapshot.kafka.settings import KafkaSettings

PARTITIONS = 6
_DAY = 24 * 60 * 60 * 1000  # milliseconds
_LIMITS = ("max.message.bytes", "retention.ms", "delete.retention.ms")


class Topic(msgspec.Struct, frozen=True):
    """What a topic should be."""

    name: str
    partitions: int
    configuration: Mapping[str, str]


class Existing(NamedTuple):
    """How many partitions a topic has, and how many replicas the one with the fewest."""

    partitions: int
    replication: int


class Topics(NamedTuple):
    """What `ensure_topics` created and found to differ; each difference is a sentence."""

    created: Sequence[str]
    differences: Sequence[str]


def required(partitions: int = PARTITIONS) -> list[Topic]:
    """List all topics of the project.

    The two event topics have the same number of partitions: then one consumer reads both halves of a user's comments.
    """
    events = {"cleanup.policy": "delete", "retention.ms": str(7 * _DAY), "max.message.bytes": str(MAX_MESSAGE_BYTES)}
    # A dead letter is the message that was refused, with headers of ours.
    dead = events | {"retention.ms": str(30 * _DAY), "max.message.bytes": str(MAX_MESSAGE_BYTES + 2**20)}
    # Downstream that did not run can still read the end of a profile (a message without value) a week later.
    changed = {"cleanup.policy": "compact", "delete.retention.ms": str(7 * _DAY), "max.message.bytes": str(2**20)}
    return [
        Topic(COMMENT_CREATED, partitions, events),
        Topic(INSIGHT_CREATED, partitions, events),
        Topic(dead_topic(COMMENT_CREATED), 1, dead),
        Topic(dead_topic(INSIGHT_CREATED), 1, dead),
        Topic(SNAPSHOT_CHANGED, partitions, changed),
    ]


def ensure_topics(settings: KafkaSettings, *, partitions: int | None = None, replication: int | None = None) -> Topics:
    """Create the topics that are missing; compare the others, and change none of them.

    Without `partitions` new topics get six (an event topic as many as the other one has) and existing numbers are not
    compared; without `replication` the broker decides, likewise. Raises OperatorError where Kafka can't be reached or
    refuses.
    """
    client = connect(KafkaAdminClient, settings, **ADMIN_OPTIONS)
    try:
        found = _existing(client)
        goal = required(partitions or _partitions_of_events(found) or PARTITIONS)
        missing = [topic for topic in goal if topic.name not in found]
        created = _create(client, missing, replication)
        present = _configurations(client, [topic.name for topic in goal if topic.name in found])
    except errors.InvalidReplicationFactorError as error:
        raise OperatorError(
            f"Kafka at {settings.bootstrap_servers} has too few brokers ({one_line(error)}): start more, or ask for "
            "fewer replicas with snapshot-admin topics --replication, or with the brokers' default.replication.factor"
        ) from error
    except errors.KafkaError as error:
        raise OperatorError(
            f"Kafka at {settings.bootstrap_servers} refuses to create or describe topics ({one_line(repr(error))}): "
            "see the broker's log, and grant this user CREATE and DESCRIBE_CONFIGS"
        ) from error
    finally:
        client.close()
    differences = [
        line
        for topic in goal
        if topic.name in found
        for line in (
            *_other_numbers(topic, found[topic.name], replication, exact=partitions is not None),
            *_differences(topic, present[topic.name]),
        )
    ]
    return Topics(created, differences + _unequal(found))


def _existing(client: KafkaAdminClient) -> dict[str, Existing]:
    names = {topic.name for topic in required()}
    return {
        topic["name"]: Existing(len(topic["partitions"]), min(len(one["replica_nodes"]) for one in topic["partitions"]))
        for topic in client.describe_topics()
        if topic["name"] in names
    }


def _partitions_of_events(found: Mapping[str, Existing]) -> int:
    return next((found[name].partitions for name in (COMMENT_CREATED, INSIGHT_CREATED) if name in found), 0)


def _create(client: KafkaAdminClient, missing: Sequence[Topic], replication: int | None) -> list[str]:
    if not missing:
        return []
    request = {
        topic.name: {
            "num_partitions": topic.partitions,
            "replication_factor": replication or -1,
            "configs": dict(topic.configuration),
        }
        for topic in missing
    }
    answer = client.create_topics(request, raise_errors=False)
    created = []
    for topic in answer["topics"]:
        kind = errors.for_code(topic["error_code"])
        if kind is errors.NoError:
            created.append(topic["name"])
        elif kind is not errors.TopicAlreadyExistsError:  # another process was faster
            raise kind(f"{topic['name']}: {topic.get('error_message')}")
    client.wait_for_topics([topic.name for topic in missing])
    return created


def _configurations(client: KafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    answer: Mapping[str, Mapping[str, Any]] = client.describe_configs(resources, config_filter="all")["topic"]
    return {
        name: {key: entry["value"] for key, entry in configuration.items()} for name, configuration in answer.items()
    }


def _other_numbers(topic: Topic, existing: Existing, replication: int | None, *, exact: bool) -> list[str]:
    lines = []
    if exact and existing.partitions != topic.partitions:
        lines.append(f"{topic.name}: partitions is {existing.partitions}, not {topic.partitions}")
    if replication is not None and existing.replication != replication:
        lines.append(f"{topic.name}: replication is {existing.replication}, not {replication}")
    return lines


def _differences(topic: Topic, present: Mapping[str, str]) -> list[str]:
    lines = []
    for key, value in topic.configuration.items():
        if not _enough(key, present.get(key, ""), value):
            expected = f"below {value}" if key in _LIMITS else f"not {value}"
            lines.append(f"{topic.name}: {key} is {present.get(key) or 'not set'}, {expected}")
    return lines


def _enough(key: str, present: str, value: str) -> bool:
    """Whether a setting is sufficient; a higher limit is too, and a retention of -1 is unlimited."""
    if key not in _LIMITS:
        return present == value
    return present == "-1" or (present.isdigit() and int(present) >= int(value))


def _unequal(found: Mapping[str, Existing]) -> list[str]:
    counts = {name: found[name].partitions for name in (COMMENT_CREATED, INSIGHT_CREATED) if name in found}
    if len(set(counts.values())) < 2:  # noqa: PLR2004  two topics
        return []
    found_counts = " and ".join(f"{name} {count}" for name, count in counts.items())
    return [
        f"{found_counts} partitions: give both the same number, so that one consumer reads both halves of a comment"
    ]


def configurations(settings: KafkaSettings) -> Mapping[str, Mapping[str, str]]:
    """The settings of those topics of the project that are there. Raises OperatorError."""
    client = connect(KafkaAdminClient, settings, **ADMIN_OPTIONS)
    try:
        return _configurations(client, sorted(_existing(client)))
    except errors.KafkaError as error:
        raise OperatorError(
            f"Kafka at {settings.bootstrap_servers} doesn't tell how long its topics keep messages "
            f"({one_line(repr(error))}): see the broker's log, and grant this user DESCRIBE_CONFIGS"
        ) from error
    finally:
        client.close()


def event_ends(settings: KafkaSettings) -> Mapping[str, int]:
    """By partition (`topic/number`), the offset after the last event. OperatorError where Kafka doesn't answer."""
    client = connect(KafkaConsumer, settings, **READER_OPTIONS)
    try:
        partitions = [
            TopicPartition(topic, number) for topic in TOPICS for number in client.partitions_for_topic(topic) or ()
        ]
        return {name_of(one): end for one, end in client.end_offsets(partitions).items()}
    except errors.KafkaError as error:
        raise OperatorError(
            f"Kafka at {settings.bootstrap_servers} doesn't answer where its topics end ({one_line(repr(error))}): "
            "see the broker's log, and grant this user DESCRIBE on the topics"
        ) from error
    finally:
        client.close()

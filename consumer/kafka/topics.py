"""The topics in Kafka: creating those that are missing, comparing those that exist, and what is in them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from consumer.dead_letters.dead_letters import dead_topic
from consumer.kafka.clients import open_cluster
from consumer.kafka.cluster import Cluster, ClusterError, Existing, TooFewBrokersError, Topic, operator_error
from projections.comments.events import COMMENT_CREATED, INSIGHT_CREATED, TOPICS
from projections.errors import OperatorError
from snapshot.announce.announcement import SNAPSHOT_CHANGED
from snapshot.kafka.messages import MAX_MESSAGE_BYTES
from snapshot.kafka.settings import KafkaSettings

PARTITIONS = 6
_DAY = 24 * 60 * 60 * 1000  # milliseconds
_LIMITS = ("max.message.bytes", "retention.ms", "delete.retention.ms")


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
    with open_cluster(settings) as cluster:
        try:
            found = _existing(cluster)
            goal = required(partitions or _partitions_of_events(found) or PARTITIONS)
            missing = [topic for topic in goal if topic.name not in found]
            created = cluster.create(missing, replication) if missing else []
            present = _configurations(cluster, [topic.name for topic in goal if topic.name in found])
        except TooFewBrokersError as error:
            raise OperatorError(
                f"Kafka at {settings.bootstrap_servers} has too few brokers ({error}): start more, or ask for "
                "fewer replicas with snapshot-admin topics --replication, or with the brokers' "
                "default.replication.factor"
            ) from error
        except ClusterError as error:
            raise operator_error(
                f"Kafka at {settings.bootstrap_servers} refuses to create or describe topics ({error}): "
                "see the broker's log, and grant this user CREATE and DESCRIBE_CONFIGS",
                error,
            ) from error
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


def _existing(cluster: Cluster) -> dict[str, Existing]:
    names = {topic.name for topic in required()}
    return {name: found for name, found in cluster.topics().items() if name in names}


def _partitions_of_events(found: Mapping[str, Existing]) -> int:
    return next((found[name].partitions for name in (COMMENT_CREATED, INSIGHT_CREATED) if name in found), 0)


def _configurations(cluster: Cluster, names: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    return cluster.configurations(names) if names else {}


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
    with open_cluster(settings) as cluster:
        try:
            return _configurations(cluster, sorted(_existing(cluster)))
        except ClusterError as error:
            raise operator_error(
                f"Kafka at {settings.bootstrap_servers} doesn't tell how long its topics keep messages ({error}): "
                "see the broker's log, and grant this user DESCRIBE_CONFIGS",
                error,
            ) from error


def event_ends(settings: KafkaSettings) -> Mapping[str, int]:
    """By partition (`topic/number`), the offset after the last event. OperatorError where Kafka doesn't answer."""
    with open_cluster(settings) as cluster:
        try:
            return cluster.ends(list(TOPICS))
        except ClusterError as error:
            raise operator_error(
                f"Kafka at {settings.bootstrap_servers} doesn't answer where its topics end ({error}): "
                "see the broker's log, and grant this user DESCRIBE on the topics",
                error,
            ) from error


def announced_slugs(settings: KafkaSettings, user_id: int) -> set[str]:
    """The groups of which `snapshot-changed` still says that the user has a snapshot. Raises OperatorError."""
    prefix, found = f"{user_id}:", set[str]()
    with open_cluster(settings) as cluster:
        try:
            for record in cluster.records([SNAPSHOT_CHANGED]):
                key = (record.message.key or b"").decode(errors="replace")
                if key.startswith(prefix):
                    (found.discard if record.message.value is None else found.add)(key.removeprefix(prefix))
        except ClusterError as error:
            raise operator_error(
                f"{SNAPSHOT_CHANGED} can't be read at Kafka {settings.bootstrap_servers} ({error}): see "
                "the broker's log, and grant this user READ on it",
                error,
            ) from error
    return found

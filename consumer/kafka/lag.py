"""How far positions are behind what Kafka has: in events, and in the time of the first that is not read."""

from collections.abc import Mapping
from typing import NamedTuple

from consumer.dead_letters.dead_letters import dead_topic
from consumer.kafka.clients import open_cluster
from consumer.kafka.cluster import Cluster, ClusterError, operator_error
from projections.comments.events import TOPICS
from snapshot.kafka.settings import KafkaSettings


class Lag(NamedTuple):
    """A partition's position and end; `since` is the time (ms since 1970) of the message at the position, if any."""

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
    try:
        with open_cluster(settings) as cluster:
            return _backlog(cluster, positions)
    except ClusterError as error:
        raise operator_error(
            f"Kafka at {settings.bootstrap_servers} doesn't say how far its topics are ({error}): see the broker's "
            "log, and grant this user READ on the topics of events and DESCRIBE on those of dead letters",
            error,
        ) from error


def _backlog(cluster: Cluster, positions: Mapping[str, int]) -> Backlog:
    starts, ends = cluster.starts(list(TOPICS)), cluster.ends(list(TOPICS))
    at = {name: max(positions.get(name, 0), start) for name, start in starts.items()}
    behind = {name: offset for name, offset in at.items() if offset < ends[name]}
    firsts = cluster.between(behind, {name: offset + 1 for name, offset in behind.items()}) if behind else ()
    since = {f"{one.message.topic}/{one.message.partition}": one.timestamp for one in firsts}
    dead = [dead_topic(topic) for topic in TOPICS]
    letters = sum(cluster.ends(dead).values()) - sum(cluster.starts(dead).values())
    return Backlog({name: Lag(offset, ends[name], since.get(name)) for name, offset in at.items()}, letters)

"""The announcements that Kafka keeps, and those that come: for an operator who looks."""

from collections.abc import Callable, Iterator

from consumer.kafka.clients import open_cluster
from consumer.kafka.cluster import ClusterError, Record, no_topics, operator_error
from consumer.process.liveness import calling
from projections.errors import OperatorError
from snapshot.announce.announcement import SNAPSHOT_CHANGED, Announcement, parse
from snapshot.kafka.settings import KafkaSettings


def kept(settings: KafkaSettings, called: Callable[[], object] = lambda: None) -> Iterator[Announcement]:
    """All announcements that the topic has now, by partition, the oldest first. Raises OperatorError.

    `called` is called after each thousand records, whatever they are.
    """
    try:
        with open_cluster(settings) as cluster:
            yield from filter(None, map(_announcement, calling(called, cluster.records([SNAPSHOT_CHANGED]))))
    except ClusterError as error:
        raise _refused(settings, error) from error


def latest(settings: KafkaSettings, count: int) -> list[Announcement]:
    """The last ones of each partition, at most so many of it, the oldest first. Raises OperatorError."""
    try:
        with open_cluster(settings) as cluster:
            starts, ends = cluster.starts([SNAPSHOT_CHANGED]), cluster.ends([SNAPSHOT_CHANGED])
            begin = {name: max(starts[name], end - count) for name, end in ends.items()}
            begin = {name: offset for name, offset in begin.items() if offset < ends[name]}
            found = cluster.between(begin, {name: ends[name] for name in begin}) if begin else ()
            return [one for one in map(_announcement, found) if one is not None]
    except ClusterError as error:
        raise _refused(settings, error) from error


def follow(settings: KafkaSettings) -> Iterator[Announcement | None]:
    """Those that are announced from now on, and None whenever there is none at present. Raises OperatorError."""
    try:
        with open_cluster(settings) as cluster:
            read = cluster.ends([SNAPSHOT_CHANGED])
            if not read:
                raise no_topics(settings, [SNAPSHOT_CHANGED])
            while True:
                ends = cluster.ends([SNAPSHOT_CHANGED])
                if any(end > read.get(name, 0) for name, end in ends.items()):
                    starts = {name: read.get(name, 0) for name in ends}
                    yield from filter(None, map(_announcement, cluster.between(starts, ends)))
                    read = ends
                yield None
    except ClusterError as error:
        raise _refused(settings, error) from error


def _announcement(record: Record) -> Announcement | None:
    message = record.message
    return parse(message.key, message.value, dict(message.headers))


def _refused(settings: KafkaSettings, error: ClusterError) -> OperatorError:
    return operator_error(
        f"{SNAPSHOT_CHANGED} can't be read at Kafka {settings.bootstrap_servers} ({error}): see the broker's log, and "
        "grant this user READ on it",
        error,
    )

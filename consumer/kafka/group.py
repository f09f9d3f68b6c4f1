"""Joining a consumer group, and what a rebalance does before the next fetch."""

from collections.abc import Sequence
from typing import Any

import msgspec
import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition, errors
from kafka.coordinator.assignors.range import RangePartitionAssignor

from consumer.kafka import internals
from projections.errors import OperatorError
from snapshot.kafka.client import MAX_MESSAGE_BYTES, connect, one_line
from snapshot.kafka.settings import KafkaSettings

log = structlog.get_logger()


class SourceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What may be tuned; seconds and bytes. `instance_id` makes the membership static (KAFKA_GROUP_INSTANCE_ID).

    A static member that restarts within `session_timeout` gets its partitions back without a rebalance, but others
    wait that long before they take over what it left by `close`.
    """

    instance_id: str | None = None
    max_records: int = 10_000
    min_poll: float = 0.5
    session_timeout: float = 10.0
    heartbeat: float = 1.0
    max_poll_interval: float = 120.0
    metadata_age: float = 60.0
    stall_limit: float = 60.0
    request_timeout: float = 2.0


def consumer_options(group_id: str, options: SourceOptions) -> dict[str, Any]:
    """Give the arguments of kafka-python's consumer, without those of the connection."""
    return {
        "group_id": group_id,
        "group_instance_id": options.instance_id,
        # Kafka's offset is committed after the store has the events, by the loop, never by a timer.
        "enable_auto_commit": False,
        # Positions come from the store. An offset that is no longer kept is an error here, never a silent reset.
        "auto_offset_reset": "none",
        # Range gives a member the same partitions of both topics, so whoever reads a user's comments reads their
        # insights too and saves seldom conflict. It is eager: each generation is complete, none is half moved.
        "partition_assignment_strategy": [RangePartitionAssignor],
        "session_timeout_ms": _ms(options.session_timeout),
        "heartbeat_interval_ms": _ms(options.heartbeat),
        "max_poll_interval_ms": _ms(options.max_poll_interval),
        # New partitions and recreated topics are noticed after at most so long.
        "metadata_max_age_ms": _ms(options.metadata_age),
        "max_poll_records": options.max_records,
        # Memory: one answer of a broker is at most so large, whatever max_records says. A message above the second
        # figure still passes, alone.
        "fetch_max_bytes": 2 * MAX_MESSAGE_BYTES,
        "max_partition_fetch_bytes": 2 * 2**20,
        "fetch_max_wait_ms": 250,
        "check_crcs": True,  # costs little: the crc32c package is a dependency
        "metrics_enabled": False,  # nobody reads kafka-python's, and they cost per fetch
    }


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


class Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    """Stops what was newly assigned and leaves the rest to the poll; runs on kafka-python's I/O thread.

    Before the poll that rebalances goes on to fetch, each partition must be paused and have a position: without one
    kafka-python would look for Kafka's committed offset. The offset 0 stands in until the caller chooses.
    """

    def __init__(self, consumer: KafkaConsumer) -> None:
        self.changes = 0
        """Grows with each change of what is assigned."""
        self._consumer = consumer
        self._assigned: set[TopicPartition] | None = None

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Pause them all, unless they are the ones that we had."""
        if assigned == self._assigned:
            return  # they were never another member's in between: positions and pauses are kept
        for partition in assigned:
            self._consumer.seek(partition, 0)
            self._consumer.pause(partition)
        self._assigned = set(assigned)
        self.changes += 1

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Nothing to do: on_partitions_assigned gives what is ours afterwards."""

    def on_partitions_lost(self, lost: set[TopicPartition]) -> None:  # noqa: ARG002  kafka-python's signature
        """Others may have had them before they are assigned again."""
        self._assigned = None


def join(
    settings: KafkaSettings, group_id: str, topics: Sequence[str], options: SourceOptions
) -> tuple[KafkaConsumer, Listener]:
    """Create a consumer that joins the group with its first poll. OperatorError where that is not possible."""
    internals.read_odd_headers()
    consumer = connect(KafkaConsumer, settings, **consumer_options(group_id, options))
    # Topics that become known only after the first join are one cause of the stall: see `internals.keep_rejoin_alive`.
    missing = [topic for topic in topics if not consumer.partitions_for_topic(topic)]
    if missing:
        leave(consumer, options)
        raise OperatorError(
            f"Kafka at {settings.bootstrap_servers} has no topic {' and no topic '.join(missing)}: "
            "create it with `snapshot-admin topics`"
        )
    listener = Listener(consumer)
    consumer.subscribe(topics, listener=listener)
    return consumer, listener


def leave(consumer: KafkaConsumer, options: SourceOptions) -> None:
    """Close the consumer; where Kafka answers, its group is told at once."""
    try:
        consumer.close(autocommit=False, timeout_ms=options.request_timeout * 1000)
    except errors.KafkaError as error:
        log.warning("leaving the consumer group failed; its session will time out", reason=one_line(repr(error)))

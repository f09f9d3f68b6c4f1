"""Joining a consumer group, and what the group's rebalances do before anybody else acts."""

import logging
from collections.abc import Sequence

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition, errors

from consumer import kafka_inside
from consumer.kafka_options import SourceOptions, consumer_options
from projections.errors import OperatorError
from snapshot.kafka_client import connect, one_line
from snapshot.kafka_settings import KafkaSettings

_log = logging.getLogger(__name__)


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
            return  # never anybody else's in between: positions and pauses are kept
        for partition in assigned:
            self._consumer.seek(partition, 0)
            self._consumer.pause(partition)
        self._assigned = set(assigned)
        self.changes += 1

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Nothing to do: what is ours afterwards is told by on_partitions_assigned."""

    def on_partitions_lost(self, lost: set[TopicPartition]) -> None:  # noqa: ARG002  kafka-python's signature
        """Others may have had them when they come back."""
        self._assigned = None


def join(
    settings: KafkaSettings, group_id: str, topics: Sequence[str], options: SourceOptions
) -> tuple[KafkaConsumer, Listener]:
    """Make a consumer that joins the group with its first poll. OperatorError where it can't be had."""
    kafka_inside.read_odd_headers()
    consumer = connect(KafkaConsumer, settings, **consumer_options(group_id, options))
    # Topics that become known only after the first join are one way into the stall of `kafka_inside.nudge`.
    missing = [topic for topic in topics if not consumer.partitions_for_topic(topic)]
    if missing:
        leave(consumer, options)
        raise OperatorError(
            f"Kafka at {settings.bootstrap_servers} has no topic {' and no topic '.join(missing)}: "
            "make it with `snapshot-admin topics`"
        )
    listener = Listener(consumer)
    consumer.subscribe(topics, listener=listener)
    return consumer, listener


def leave(consumer: KafkaConsumer, options: SourceOptions) -> None:
    """Close the consumer; its group hears of it at once, where Kafka answers."""
    try:
        consumer.close(autocommit=False, timeout_ms=options.request_timeout * 1000)
    except errors.KafkaError as error:
        _log.warning("Kafka: leaving the group failed: %s", one_line(repr(error)))

"""Joining a consumer group, and what a rebalance does before the next fetch."""

from collections.abc import Sequence
from contextlib import suppress

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition, errors

from consumer.kafka.cluster import no_topics
from consumer.kafka.kafka_python import internals
from consumer.kafka.kafka_python.errors import as_kafka_error
from consumer.kafka.kafka_python.options import member_options
from consumer.kafka.options import SourceOptions
from projections.errors import OperatorError
from snapshot.kafka.connection import one_line
from snapshot.kafka.kafka_python.client import connect
from snapshot.kafka.settings import KafkaSettings

log = structlog.get_logger()

_METADATA_SECONDS = 10.0


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
    consumer = connect(KafkaConsumer, settings, **member_options(group_id, options))
    try:
        with as_kafka_error():
            _require_topics(consumer, settings, topics)
            listener = Listener(consumer)
            consumer.subscribe(topics, listener=listener)
    except (errors.KafkaError, OperatorError) as error:
        release(consumer)
        if isinstance(error, OperatorError):
            raise
        raise OperatorError(
            f"Kafka at {settings.bootstrap_servers} does not answer ({one_line(repr(error))}): see the broker's log"
        ) from error
    return consumer, listener


def _require_topics(consumer: KafkaConsumer, settings: KafkaSettings, topics: Sequence[str]) -> None:
    # Topics that become known only after the first join are one cause of the stall: see `internals.keep_rejoin_alive`.
    missing = internals.unknown_topics(consumer, topics, _METADATA_SECONDS)
    if missing:
        raise no_topics(settings, missing)


def leave(consumer: KafkaConsumer, options: SourceOptions) -> None:
    """Close the consumer; where Kafka answers, its group learns of it at once."""
    try:
        with as_kafka_error():
            consumer.close(autocommit=False, timeout_ms=options.request_timeout * 1000)
    except errors.KafkaError as error:
        log.warning("leaving the consumer group failed; its session will time out", reason=one_line(repr(error)))
        release(consumer)


def release(consumer: KafkaConsumer) -> None:
    """Close the consumer's connections and its thread without a word to Kafka."""
    with suppress(Exception):  # it is given up, whatever becomes of it
        internals.disconnect(consumer)

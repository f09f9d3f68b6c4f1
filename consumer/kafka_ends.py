"""Where the event topics end."""

from collections.abc import Mapping

from kafka import KafkaConsumer, TopicPartition, errors

from consumer.kafka_records import name_of
from projections.errors import OperatorError
from projections.events import TOPICS
from snapshot.kafka_client import connect, one_line
from snapshot.kafka_settings import KafkaSettings


def event_ends(settings: KafkaSettings) -> Mapping[str, int]:
    """By partition (`topic/number`), the offset after the last event. Raises OperatorError where Kafka can't tell."""
    client = connect(KafkaConsumer, settings, group_id=None, enable_auto_commit=False)
    try:
        partitions = [
            TopicPartition(topic, number) for topic in TOPICS for number in client.partitions_for_topic(topic) or ()
        ]
        return {name_of(one): end for one, end in client.end_offsets(partitions).items()}
    except errors.KafkaError as error:
        raise OperatorError(
            f"Kafka at {settings.bootstrap_servers} doesn't tell where its topics end ({one_line(repr(error))}): "
            "see its log, and whether this user may read them"
        ) from error
    finally:
        client.close()

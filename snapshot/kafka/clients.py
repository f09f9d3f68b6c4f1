"""Which client of Kafka is used: the one place that knows, with `consumer.kafka.clients`."""

from collections.abc import Callable

from snapshot.kafka.connection import CONNECT_SECONDS
from snapshot.kafka.messages import ProducerClient
from snapshot.kafka.settings import LIBRDKAFKA, KafkaSettings


def connect_producer(
    settings: KafkaSettings, delivery_timeout: float, clock: Callable[[], float], seconds: float | None = None
) -> ProducerClient:
    """Connect a client that tries each message for `delivery_timeout` seconds, within `seconds` or what is usual.

    Raises OperatorError where no broker answers or where it refuses us.
    """
    if settings.chosen_client == LIBRDKAFKA:
        from snapshot.kafka.librdkafka.producer import LibrdkafkaProducer  # noqa: PLC0415 - only the chosen one

        return LibrdkafkaProducer(settings, delivery_timeout, clock, seconds or CONNECT_SECONDS)
    from snapshot.kafka.kafka_python.producer import KafkaPythonProducer  # noqa: PLC0415 - see above

    return KafkaPythonProducer(settings, delivery_timeout, clock, seconds or CONNECT_SECONDS)

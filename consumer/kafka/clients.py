"""Which client of Kafka is used: the one place that knows, with `snapshot.kafka.clients`."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from consumer.kafka.cluster import Cluster
from consumer.kafka.member import Member
from consumer.kafka.options import SourceOptions
from snapshot.kafka.settings import LIBRDKAFKA, KafkaSettings


def join(settings: KafkaSettings, group_id: str, topics: Sequence[str], options: SourceOptions) -> Member:
    """Create a member that joins the group with its first poll. OperatorError where that is not possible."""
    if settings.chosen_client == LIBRDKAFKA:
        from consumer.kafka.librdkafka.member import LibrdkafkaMember  # noqa: PLC0415 - only the chosen one

        return LibrdkafkaMember(settings, group_id, topics, options)
    from consumer.kafka.kafka_python.member import KafkaPythonMember  # noqa: PLC0415 - see above

    return KafkaPythonMember(settings, group_id, topics, options)


@contextmanager
def open_cluster(settings: KafkaSettings, clock: Callable[[], float] = time.monotonic) -> Iterator[Cluster]:
    """Give a connection for questions, closed at the end. OperatorError where Kafka can't be reached or refuses us."""
    cluster = _cluster(settings, clock)
    try:
        yield cluster
    finally:
        cluster.close()


def _cluster(settings: KafkaSettings, clock: Callable[[], float]) -> Cluster:
    if settings.chosen_client == LIBRDKAFKA:
        from consumer.kafka.librdkafka.cluster import LibrdkafkaCluster  # noqa: PLC0415 - only the chosen one

        return LibrdkafkaCluster(settings, clock)
    from consumer.kafka.kafka_python.cluster import KafkaPythonCluster  # noqa: PLC0415 - see above

    return KafkaPythonCluster(settings, clock)

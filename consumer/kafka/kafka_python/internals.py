"""All places that rely on the internals of kafka-python (as of 3.0.12)."""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.record.default_records import DefaultRecordBatch


class _LenientBytes(bytearray):
    r"""Bytes whose parts decode as text whatever they are; what is not UTF-8 is written `\xff`."""

    def __getitem__(self, part: Any) -> Any:  # noqa: ANN401  an int or a slice, as bytearray has it
        found = super().__getitem__(part)
        return _LenientBytes(found) if isinstance(part, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)


@cache
def read_odd_headers() -> None:
    """Let kafka-python read messages with a header whose name is not UTF-8, which brokers take from other clients.

    It takes them for corrupt and never gets past one, so a single message would stop its partition for ever. Drop
    this when tests/integration/consumer/kafka/test_source.py passes without.
    """
    read = DefaultRecordBatch._read_msg  # noqa: SLF001  kafka-python offers no other way

    def read_any(batch: Any) -> Any:  # noqa: ANN401  kafka-python has no types
        start = batch._pos  # noqa: SLF001  see above
        try:
            return read(batch)
        except UnicodeDecodeError:
            kept, batch._buffer, batch._pos = batch._buffer, _LenientBytes(batch._buffer), start  # noqa: SLF001  see above
            try:
                return read(batch)
            finally:
                batch._buffer = kept  # noqa: SLF001  see above

    DefaultRecordBatch._read_msg = read_any  # noqa: SLF001  see above


def keep_rejoin_alive(consumer: KafkaConsumer) -> None:
    """Make the next poll wait for a join that is in flight. Call it after each poll.

    A rejoin that changed metadata started (topics became known after the first join, partitions were added) is lost
    when a poll's time runs out before the join is answered: the metadata no longer differ then, so the next poll finds
    nothing to rejoin for and never looks at the answer (kafka/coordinator/base.py, join_group_async). The consumer
    polls for ever without an assignment. tests/integration/consumer/kafka/test_partitions.py fails without this; drop
    it when that test passes without.
    """
    coordinator = consumer._coordinator  # noqa: SLF001  kafka-python offers no other way
    if coordinator.rebalance_in_progress() and not coordinator.rejoin_needed:
        coordinator.request_rejoin()


def positions(consumer: KafkaConsumer) -> Mapping[TopicPartition, int]:
    """Look up where every assigned partition is read next.

    `KafkaConsumer.position` gives the same for one partition, at a cost that grows with the number of partitions.
    """
    consumed = consumer._subscription.all_consumed_offsets()  # noqa: SLF001  see above
    return {partition: position.offset for partition, position in consumed.items()}


def topic_id(consumer: KafkaConsumer, topic: str) -> str | None:
    """Give the id that the last metadata gave the topic; empty for brokers before 2.8, None where it has no topic."""
    cluster = consumer._cluster  # noqa: SLF001  the public way is an admin client with a connection of its own
    return None if cluster.partitions_for_topic(topic) is None else str(cluster.topic_id(topic) or "")


def unknown_topics(consumer: KafkaConsumer, topics: Sequence[str], seconds: float) -> list[str]:
    """Fetch the topics' metadata; those that Kafka does not have. KafkaError where no broker answers in time.

    `KafkaConsumer.partitions_for_topic` does the same and waits for ever.
    """
    wait = partial(consumer._net.run, consumer._manager.wait_for)  # noqa: SLF001  see above
    wait(consumer._cluster.set_topics(topics), seconds * 1000)  # noqa: SLF001  see above
    if any(not consumer._cluster.partitions_for_topic(topic) for topic in topics):  # noqa: SLF001  see above
        refresh(consumer, seconds)  # the answer may have been that to an earlier request, for no topics
    return [topic for topic in topics if not consumer._cluster.partitions_for_topic(topic)]  # noqa: SLF001  see above


def disconnect(consumer: KafkaConsumer) -> None:
    """Close the connections and end the I/O thread of a consumer whose own `close` failed."""
    consumer._client.close()  # noqa: SLF001  see above


def refresh(consumer: KafkaConsumer, seconds: float) -> None:
    """Fetch the topics' metadata again. KafkaError where no broker answers in time."""
    update = consumer._cluster.request_update()  # noqa: SLF001  `KafkaConsumer.topics` does the same and waits for ever
    consumer._net.run(consumer._manager.wait_for, update, seconds * 1000)  # noqa: SLF001  the same


def coordinator_known(consumer: KafkaConsumer) -> bool:
    """Whether the broker that leads our group is connected."""
    unknown: Any = consumer._coordinator.coordinator_unknown()  # noqa: SLF001  nothing public says so
    return not unknown

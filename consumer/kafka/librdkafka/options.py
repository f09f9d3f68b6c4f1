"""The chosen options of librdkafka, beyond the connection; docs/operations/kafka.md has the reason for each."""

from consumer.kafka.options import SourceOptions
from snapshot.kafka.messages import MAX_MESSAGE_BYTES

READER_GROUP = "signal-identity-snapshotter-reader"
"""librdkafka wants a group's name of each consumer; nothing is joined, and nothing committed."""

CONSUMER_OPTIONS: dict[str, str | int | bool] = {
    # Events of an aborted transaction never happened; those of an open one may yet be aborted.
    "isolation.level": "read_committed",
    # A topic that was deleted is reported, and not created again with the broker's settings.
    "allow.auto.create.topics": False,
    # Positions come from the store. An offset that is no longer kept is an error here, never a silent reset.
    "auto.offset.reset": "error",
    # Kafka's offset is committed after the store has the events, by the loop, never by a timer.
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # It says where the partition ends, so that transaction markers before that are covered.
    "enable.partition.eof": True,
    # Memory: what is fetched ahead in all partitions together, and one answer of a broker. A larger message still
    # passes, alone.
    "queued.max.messages.kbytes": 2 * MAX_MESSAGE_BYTES // 1024,
    "fetch.max.bytes": 2 * MAX_MESSAGE_BYTES,
    "max.partition.fetch.bytes": 2 * 2**20,
    "message.max.bytes": MAX_MESSAGE_BYTES,
    "fetch.wait.max.ms": 250,
    # A full queue is looked at again soon: with the default second, whoever reads fast waits for it.
    "fetch.queue.backoff.ms": 5,
    "socket.timeout.ms": 10_000,
    "check.crcs": True,
}
"""For every consumer, of a group or of none."""


def member_options(group_id: str, options: SourceOptions) -> dict[str, str | int | bool]:
    """Give the options of a member of a consumer group."""
    chosen: dict[str, str | int | bool] = {
        **CONSUMER_OPTIONS,
        "group.id": group_id,
        # Range gives a member the same partitions of both topics, so whoever reads a user's comments reads their
        # insights too and saves seldom conflict. It is eager: each generation is complete, none is half moved.
        "partition.assignment.strategy": "range",
        "session.timeout.ms": _ms(options.session_timeout),
        "heartbeat.interval.ms": _ms(options.heartbeat),
        "max.poll.interval.ms": _ms(options.max_poll_interval),
        # New partitions are noticed after at most so long.
        "topic.metadata.refresh.interval.ms": _ms(options.metadata_age),
    }
    return chosen | ({"group.instance.id": options.instance_id} if options.instance_id else {})


def _ms(seconds: float) -> int:
    return round(seconds * 1000)

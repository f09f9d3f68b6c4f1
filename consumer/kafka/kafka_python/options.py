"""The chosen options of kafka-python, beyond the connection; docs/operations/kafka.md has the reason for each."""

from typing import Any

from kafka.coordinator.assignors.range import RangePartitionAssignor

from consumer.kafka.options import SourceOptions
from snapshot.kafka.connection import CLIENT_ID
from snapshot.kafka.messages import MAX_MESSAGE_BYTES

READER_OPTIONS: dict[str, Any] = {
    "client_id": CLIENT_ID,
    # Events of an aborted transaction never happened; those of an open one may yet be aborted.
    "isolation_level": "read_committed",
    # A topic that was deleted is reported, and not created again with the broker's settings.
    "allow_auto_create_topics": False,
    # Positions come from the store. An offset that is no longer kept is an error here, never a silent reset.
    "auto_offset_reset": "none",
    # Kafka's offset is committed after the store has the events, by the loop, never by a timer.
    "enable_auto_commit": False,
    # Memory: one answer of a broker is at most so large, whatever max_poll_records says. A message above the second
    # figure still passes, alone.
    "fetch_max_bytes": 2 * MAX_MESSAGE_BYTES,
    "max_partition_fetch_bytes": 2 * 2**20,
    "fetch_max_wait_ms": 250,
    "check_crcs": True,  # costs little: the crc32c package is a dependency
    "metrics_enabled": False,  # nobody reads kafka-python's, and they cost per fetch
}
"""For every consumer, of a group or of none."""

ADMIN_OPTIONS: dict[str, Any] = {"client_id": CLIENT_ID}


def member_options(group_id: str, options: SourceOptions) -> dict[str, Any]:
    """Give the options of a member of a consumer group."""
    return READER_OPTIONS | {
        "group_id": group_id,
        "group_instance_id": options.instance_id,
        # Range gives a member the same partitions of both topics, so whoever reads a user's comments reads their
        # insights too and saves seldom conflict. It is eager: each generation is complete, none is half moved.
        "partition_assignment_strategy": [RangePartitionAssignor],
        "session_timeout_ms": _ms(options.session_timeout),
        "heartbeat_interval_ms": _ms(options.heartbeat),
        "max_poll_interval_ms": _ms(options.max_poll_interval),
        # New partitions and recreated topics are noticed after at most so long.
        "metadata_max_age_ms": _ms(options.metadata_age),
        "max_poll_records": options.max_records,
    }


def _ms(seconds: float) -> int:
    return round(seconds * 1000)

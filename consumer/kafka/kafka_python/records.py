"""From kafka-python's records to events."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from kafka import TopicPartition

from consumer.source import Invalid
from projections.comments.events import Event, InvalidEventError, decode, reject_future_revision

Records = Mapping[TopicPartition, Sequence[Any]]


def name_of(partition: TopicPartition) -> str:
    """Give a partition's name in positions, intervals and assignments: `topic/number`."""
    return f"{partition.topic}/{partition.partition}"


def size_of(records: Records) -> int:
    """How many bytes the values have."""
    return sum(len(message.value or b"") for messages in records.values() for message in messages)


def read(records: Records, now: int | None = None) -> tuple[list[Event], list[Invalid]]:
    """Decode what one poll fetched: the events, and the messages that are none. `now`: microseconds since 1970."""
    now = time.time_ns() // 1_000 if now is None else now
    events: list[Event] = []
    invalid: list[Invalid] = []
    for partition, messages in records.items():
        topic = partition.topic
        for message in messages:
            try:
                events.append(reject_future_revision(decode(topic, message.value), now))
            except InvalidEventError as error:
                invalid.append(as_invalid(message, str(error)))
    return events, invalid


def as_invalid(message: Any, error: str) -> Invalid:  # noqa: ANN401  kafka-python has no types
    """Give all that is known of one of kafka-python's records, with the reason why it is no event."""
    headers = [(name, value or b"") for name, value in message.headers]
    return Invalid(message.topic, message.partition, message.offset, message.key, message.value, headers, error)

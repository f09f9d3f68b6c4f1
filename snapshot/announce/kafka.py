"""Announcements on Kafka."""

from collections.abc import Sequence

from snapshot.announce.announcement import SNAPSHOT_CHANGED, Announcement, cause_of, key_of, value_of
from snapshot.announce.cloud_events import further_headers, moment, required_headers
from snapshot.kafka.messages import Message
from snapshot.kafka.producer import Producer


class KafkaAnnouncer:
    """Announces on `snapshot-changed`, key `user_id:group_slug`; without a value when the profile is gone.

    The CloudEvents headers carry `ce_sequence`, `ce_previoushash` and `ce_cause` too, so that nothing is missing
    where there is no value. The producer's delivery time-out has to be under a third of the flusher's lease.
    """

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    def announce(self, announcements: Sequence[Announcement]) -> list[Exception | None]:
        """Send all, wait for every acknowledgement; for each, in order, None or why it was not acknowledged."""
        return [*self._producer.send([_message(one) for one in announcements])]

    def close(self) -> None:
        """Close the producer."""
        self._producer.close()


def _message(one: Announcement) -> Message:
    key = key_of(one)
    headers = required_headers(SNAPSHOT_CHANGED, f"{key}:{one.sequence}") + further_headers(
        {
            "subject": key,
            "time": moment(one.sequence),
            "sequence": str(one.sequence),
            "previoushash": one.previous_hash,
            "cause": cause_of(one),
        }
    )
    if one.snapshot is None:
        return Message(SNAPSHOT_CHANGED, key.encode(), None, headers)
    return Message(SNAPSHOT_CHANGED, key.encode(), value_of(one), [*headers, ("content-type", b"application/json")])

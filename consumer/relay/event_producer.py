"""Publishing events to Kafka."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from projections.comments.events import Event, encode, topic_of
from snapshot.announce.cloud_events import required_headers
from snapshot.kafka.messages import Message
from snapshot.kafka.producer import Producer


class EventDeliveryError(Exception):
    """Some events were not acknowledged; the text tells how many and why. All of them may be sent again."""


class Sender(Protocol):
    """Publishes events; `EventProducer` does it to Kafka."""

    def send(self, events: Sequence[Event]) -> None:
        """Return when all are acknowledged; raise EventDeliveryError otherwise."""
        ...

    def begin(self) -> None:
        """Forget the ends: others may have sent since."""
        ...

    @property
    def ends(self) -> Mapping[str, int]:
        """By partition (`topic/number`), the offset after the last event that was acknowledged there."""
        ...


class EventProducer:
    """Publishes events on their topics, key `user_id`, with CloudEvents headers in binary mode."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    def send(self, events: Sequence[Event]) -> None:
        outcomes = self._producer.send([_message(event) for event in events])
        failed = [error for error in outcomes if error is not None]
        if failed:
            raise EventDeliveryError(
                f"{len(failed)} of {len(events)} events were not acknowledged by Kafka, the first: {failed[0]}"
            ) from failed[0]

    def begin(self) -> None:
        self._producer.ends.clear()

    @property
    def ends(self) -> Mapping[str, int]:
        return self._producer.ends

    def close(self) -> None:
        """Close the producer."""
        self._producer.close()


def _message(event: Event) -> Message:
    # Only what CloudEvents requires: each header costs a consumer in Python 1.6 ms of CPU a thousand events.
    topic, user_id = topic_of(event), event.user_id
    identity = f"{event.comment_id}:{user_id}:{event.group_slug}:{event.revision}"
    fields = (topic, b"%d" % user_id, encode(event), required_headers(topic, identity), None)
    return tuple.__new__(Message, fields)  # past its own `__new__`, which takes a fifth of all this

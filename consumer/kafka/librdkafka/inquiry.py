"""What is asked beside consuming, by a client of its own: topic ids, offsets, and whether Kafka answers at all."""

import base64
import uuid
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, OffsetSpec

from consumer.kafka.librdkafka.cluster import answer, offsets
from snapshot.kafka.librdkafka.client import connect
from snapshot.kafka.settings import KafkaSettings

Answers = Mapping[str, Any]
"""Topic -> future of its TopicDescription."""

_INTERVAL = 10.0
_AGAIN = 1.0  # seconds, while Kafka does not answer
_NO_ANSWER = (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN)  # noqa: SLF001 - librdkafka's names


class Inquiry:
    """`ids`: the topics' ids as last known. `answers`: whether Kafka answered when it was last asked for them."""

    def __init__(self, settings: KafkaSettings, topics: Sequence[str], interval: float, timeout: float) -> None:
        self.ids: Mapping[str, str] = {}
        self.answers = True
        self._topics = topics
        self._interval = min(interval, _INTERVAL)
        self._timeout = timeout
        self._asked: Answers = {}
        self._asked_at = float("-inf")
        self._admin: AdminClient = connect(AdminClient, settings, {})

    def step(self, now: float) -> None:
        """Take an answer that has come, and ask again from time to time; cheap."""
        if self._asked and all(one.done() for one in self._asked.values()):
            self._take()
        elif not self._asked and now - self._asked_at >= (self._interval if self.answers else _AGAIN):
            self._asked_at = now
            with suppress(KafkaException):
                self._admin.poll(0)  # hands over its log
                self._ask(self._topics)

    def refresh(self) -> None:
        """Ask for the topics' ids now. Raises KafkaException where Kafka doesn't answer."""
        self._ask(self._topics)
        self._take(raises=True)

    def earliest(self, partitions: Sequence[str]) -> Mapping[str, int]:
        """Look up first offsets. Raises KafkaException."""
        return offsets(self._admin, partitions, OffsetSpec.earliest(), self._timeout)

    def ends(self, partitions: Collection[str]) -> Mapping[str, int]:
        """Look up the offsets after the last messages that may be read. Raises KafkaException."""
        return offsets(self._admin, list(partitions), OffsetSpec.latest(), self._timeout)

    def close(self) -> None:
        """Give up the client; it ends with its last reference."""
        self.__dict__.pop("_admin", None)

    def _ask(self, topics: Sequence[str]) -> None:
        self._asked = self._admin.describe_topics(TopicCollection(list(topics)), request_timeout=self._timeout)

    def _take(self, *, raises: bool = False) -> None:
        asked, self._asked = self._asked, {}
        found: dict[str, str] = {}
        self.answers = True
        for topic, future in asked.items():
            try:
                found[topic] = _as_uuid(str(answer(future, self._timeout).topic_id))
            except KafkaException as error:
                self.answers &= error.args[0].code() not in _NO_ANSWER
                if raises:
                    raise
        self.ids = found


def _as_uuid(text: str) -> str:
    """Write an id as kafka-python does, since it is kept in the store; of a broker that gives none, nothing.

    >>> _as_uuid("4L6g3nShT-eMCtK--X86sw")
    'e0bea0de-74a1-4fe7-8c0a-d2bef97f3ab3'
    """
    found = uuid.UUID(bytes=base64.urlsafe_b64decode(f"{text}=="))
    return str(found) if found.int else ""

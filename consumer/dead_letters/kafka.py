"""Dead letters on Kafka, in a topic beside each event topic."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime

from consumer.dead_letters.dead_letters import DeadLetter, DeadLetterError, dead_topic
from consumer.source import Invalid
from snapshot.kafka.messages import Message, too_large
from snapshot.kafka.producer import Producer

Headers = Sequence[tuple[str, bytes]]

_PREFIX = "dead-letter-"
_NUMBER = re.compile("[0-9]{1,18}")
_CUTS = (900_000, 60_000, 1_000)  # bytes: below the limits that brokers are commonly given


class KafkaDeadLetters:
    """Dead letters in `<topic>.dead`: key, value and headers as they came, and headers that say what happened.

    `dead-letter-error`, `-topic`, `-partition`, `-offset`, `-time` (UTC, ISO 8601). A value that is too large for the
    dead letter topic is cut, which `dead-letter-truncated` says with the size that it had.
    """

    def __init__(self, producer: Producer, now: Callable[[], datetime]) -> None:
        self._producer = producer
        self._now = now

    def send(self, invalid: Sequence[Invalid]) -> None:
        """Return only when Kafka has acknowledged all; raise DeadLetterError otherwise."""
        time = self._now().isoformat()
        waiting = [(DeadLetter(one, time), as_message(DeadLetter(one, time))) for one in invalid]
        for cut in (*_CUTS, 0):
            outcomes = self._producer.send([message for _, message in waiting])
            failed = [(one, error) for (one, _), error in zip(waiting, outcomes, strict=True) if error is not None]
            for one, error in failed:
                if not too_large(error) or cut == 0:
                    topic = dead_topic(one.message.topic)
                    raise DeadLetterError(f"{topic} did not accept a dead letter: {error}") from error
            waiting = [(one, _cut(one, cut)) for one, _ in failed]
            if not waiting:
                return


def as_message(one: DeadLetter) -> Message:
    """Write a dead letter as a message of its topic."""
    message = one.message
    # Kafka refuses a message without key and value; an empty value means the same to a reader.
    value = b"" if message.key is None and message.value is None else message.value
    return Message(dead_topic(message.topic), message.key, value, [*_foreign(message), *_headers(one)])


def read_message(invalid: Invalid) -> DeadLetter:
    """Read a message of a dead letter topic; one that another program put there has its own place as its origin."""
    said = {name[len(_PREFIX) :]: value.decode(errors="replace") for name, value in invalid.headers if _ours(name)}
    return DeadLetter(
        invalid._replace(
            topic=said.get("topic", invalid.topic),
            partition=_number(said.get("partition"), invalid.partition),
            offset=_number(said.get("offset"), invalid.offset),
            headers=_foreign(invalid),
            error=said.get("error", invalid.error),
        ),
        said.get("time", ""),
        _number(said.get("truncated"), 0) or None,
    )


def _cut(one: DeadLetter, size: int) -> Message:
    message, value, key = one.message, one.message.value or b"", one.message.key
    headers = _headers(one._replace(truncated=len(value)))
    if size == _CUTS[-1]:  # what is too large may be the key or the headers as well
        key = key and key[:size]
    else:
        headers = [*_foreign(message), *headers]
    return Message(dead_topic(message.topic), key, value[:size], headers)


def _headers(one: DeadLetter) -> list[tuple[str, bytes]]:
    facts = {
        "error": one.message.error,
        "topic": one.message.topic,
        "partition": str(one.message.partition),
        "offset": str(one.message.offset),
        "time": one.time,
        "truncated": None if one.truncated is None else str(one.truncated),
    }
    return [(_PREFIX + name, text.encode(errors="replace")) for name, text in facts.items() if text is not None]


def _foreign(message: Invalid) -> list[tuple[str, bytes]]:
    """The headers that it came with, without any that would pass for ours."""
    return [(name, value) for name, value in message.headers if not _ours(name)]


def _ours(name: str) -> bool:
    return name.startswith(_PREFIX)


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and _NUMBER.fullmatch(text) else otherwise

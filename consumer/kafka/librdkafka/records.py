"""From librdkafka's messages to events."""

import gc
from collections.abc import Iterable, MutableMapping
from operator import methodcaller
from typing import NamedTuple

from confluent_kafka import KafkaError, Message

from consumer.source import Invalid
from projections.comments.events import Event, InvalidEventError, decode, reject_future_revision

Place = tuple[str, int]
"""Topic and number of a partition."""

LOST = (
    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001 - a name of librdkafka's
    KafkaError._LOG_TRUNCATION,  # noqa: SLF001 - the same
    KafkaError.OFFSET_OUT_OF_RANGE,
)
UNREADABLE = (
    KafkaError._BAD_MSG,  # noqa: SLF001 - the same
    KafkaError._BAD_COMPRESSION,  # noqa: SLF001 - the same
    KafkaError.INVALID_MSG,
)
_END = KafkaError._PARTITION_EOF  # noqa: SLF001 - a name of librdkafka's
_NEVER = 2**63
_headers = methodcaller("headers")


class Trouble(NamedTuple):
    """An error that came in place of a message."""

    place: Place
    error: KafkaError


class Found(NamedTuple):
    """What the messages of one poll are; `size`: bytes of their values."""

    events: list[Event]
    invalid: list[Invalid]
    troubles: list[Trouble]
    size: int = 0


def read(messages: Iterable[Message], positions: MutableMapping[Place, int], now: int) -> Found:
    """Decode messages and move the positions. `now`: microseconds since 1970.

    What lies below a partition's position, or in one that has none, is left out: it came before a rebalance or a
    rewind. A partition of which something can't be read loses its position: librdkafka may go on behind that.
    """
    found = Found([], [], [])
    size = 0
    for message in messages:
        error, topic = message.error(), message.topic()
        place: Place = (topic, message.partition())  # type: ignore[assignment]  # an error of no partition is in none
        position = positions.get(place, _NEVER)
        offset: int = message.offset()  # type: ignore[assignment]  # only such errors have none
        if error is not None:
            if error.code() != _END:
                found.troubles.append(Trouble(place, error))
                if error.code() in (*LOST, *UNREADABLE):
                    positions.pop(place, None)
            elif offset > position:  # behind transaction markers and what was aborted
                positions[place] = offset
        elif offset >= position:
            positions[place] = offset + 1
            value = message.value()
            size += len(value or b"")
            try:
                found.events.append(reject_future_revision(decode(topic, value), now))  # type: ignore[arg-type]
            except InvalidEventError as reason:
                found.invalid.append(as_invalid(message, str(reason)))
    return found._replace(size=size)


def as_invalid(message: Message, error: str) -> Invalid:
    """Give all that is known of a message, with the reason why it is no event."""
    place = (message.topic() or "", message.partition() or 0, message.offset() or 0)
    return Invalid(*place, message.key(), message.value(), headers(message), error)


def headers(message: Message) -> list[tuple[str, bytes]]:
    r"""Give the headers; in a name that is not UTF-8, odd bytes are written `\xff`.

    confluent-kafka 2.16 sets an error for such a name and leaves a hole in its place, which crashes whoever touches it.
    `methodcaller` sees the error, and the garbage collector sees the hole. The error knows the last such name only: the
    others are `?`. Drop this when tests/integration/consumer/kafka/test_source.py passes without.
    """
    try:
        return [(name, value or b"") for name, value in _headers(message) or ()]
    except SystemError as error:
        odd = error.__cause__
        if not isinstance(odd, UnicodeDecodeError):
            raise
    known = ["?"] * sum(len(gc.get_referents(one)) < 2 for one in _headers(message))  # noqa: PLR2004 - name and value
    known[-1] = odd.object.decode("utf-8", "backslashreplace")
    names = iter(known)
    return [(next(names) if len(gc.get_referents(one)) < 2 else one[0], one[1] or b"") for one in _headers(message)]  # noqa: PLR2004

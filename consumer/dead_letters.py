"""Messages that are no events: they are kept with the reason, and too many of them stop the daemon.

A crash between a dead letter and the commit after it repeats the dead letter; replaying one twice is harmless.
"""

import base64
import json
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from consumer.source import Invalid
from snapshot.files.jsonl import append_lines
from snapshot.kafka.producer import Message, Producer, too_large

Headers = list[tuple[str, bytes]]

_CUTS = (900_000, 60_000, 1_000)  # bytes: below the limits that brokers are commonly given


class DeadLetters(Protocol):
    """Where messages that are no events are kept."""

    def send(self, invalid: Sequence[Invalid]) -> None:
        """Return only when all are safe; raise otherwise, so that nothing is dropped silently."""
        ...


class DeadLetterError(Exception):
    """Dead letters could not be kept; the text says where and why. Retrying is right."""


def dead_topic(topic: str) -> str:
    """Name the topic for the dead letters of a topic."""
    return f"{topic}.dead"


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
        waiting = [(one, self._message(one, time)) for one in invalid]
        for cut in (*_CUTS, 0):
            outcomes = self._producer.send([message for _, message in waiting])
            failed = [(one, error) for (one, _), error in zip(waiting, outcomes, strict=True) if error is not None]
            for one, error in failed:
                if not too_large(error) or cut == 0:
                    raise DeadLetterError(f"{dead_topic(one.topic)} did not accept a dead letter: {error!r}") from error
            waiting = [(one, self._cut(one, time, cut)) for one, _ in failed]
            if not waiting:
                return

    def _message(self, one: Invalid, time: str) -> Message:
        headers = [*one.headers, *_headers(one, time)]
        # Kafka refuses a message without key and value; an empty value means the same to a reader.
        value = b"" if one.key is None and one.value is None else one.value
        return Message(dead_topic(one.topic), one.key, value, headers)

    def _cut(self, one: Invalid, time: str, size: int) -> Message:
        value, key = one.value or b"", one.key
        headers = [*one.headers, *_headers(one, time)]
        headers.append(("dead-letter-truncated", str(len(value)).encode()))
        if size == _CUTS[-1]:  # what is too large may be the key or the headers as well
            headers = headers[len(one.headers) :]
            key = key and key[:size]
        return Message(dead_topic(one.topic), key, value[:size], headers)


class FileDeadLetters:
    """Dead letters as JSON lines in one file, created with the first one.

    Text stands as it is under `key` and `value`, other bytes as base64 under `key_base64` and `value_base64`.
    """

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self._path = path
        self._now = now

    def send(self, invalid: Sequence[Invalid]) -> None:
        """Return only when all are on the disk; raise DeadLetterError otherwise."""
        time = self._now().isoformat()
        try:
            append_lines(self._path, [json.dumps(_record(one, time), sort_keys=True).encode() for one in invalid])
        except OSError as error:
            raise DeadLetterError(f"{self._path} did not accept a dead letter: {error}") from error


class BadStreak:
    """Whether most of the last events were bad, which is a bad deploy and not bad data: then the daemon stops."""

    def __init__(self, window: int = 100, least: int = 20) -> None:
        self._window = window
        self._least = least
        self._batches: deque[tuple[int, int]] = deque()

    def observe(self, good: int, bad: int) -> bool:
        """Count one batch; True: at least `least` and more than half of the last `window` events or so are bad.

        Whole batches are counted, so the window may hold more, never less once there were so many.
        """
        if good or bad:
            self._batches.append((good, bad))
        while self._total() - sum(self._batches[0] if self._batches else (0,)) >= self._window:
            self._batches.popleft()
        all_bad = sum(bad for _, bad in self._batches)
        return all_bad >= self._least and 2 * all_bad > self._total()

    def _total(self) -> int:
        return sum(good + bad for good, bad in self._batches)


def _headers(one: Invalid, time: str) -> Headers:
    facts = {
        "error": one.error,
        "topic": one.topic,
        "partition": str(one.partition),
        "offset": str(one.offset),
        "time": time,
    }
    return [(f"dead-letter-{name}", text.encode(errors="replace")) for name, text in facts.items()]


def _record(one: Invalid, time: str) -> dict[str, Any]:
    return {
        "error": one.error,
        "topic": one.topic,
        "partition": one.partition,
        "offset": one.offset,
        "time": time,
        **_field("key", one.key),
        **_field("value", one.value),
        "headers": [{"name": name, **_field("value", value)} for name, value in one.headers],
    }


def _field(name: str, value: bytes | None) -> dict[str, str | None]:
    try:
        return {name: None if value is None else value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value or b"").decode()}

"""Dead letters in a file of JSON lines, where there is no broker."""

import base64
import json
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from consumer.dead_letters.dead_letters import DeadLetter, DeadLetterError
from consumer.source import Invalid
from projections.decoding import JsonDecoder
from projections.errors import OperatorError
from snapshot.files.disk import FILE_MODE, open_regular
from snapshot.files.jsonl import append_lines, remove_lines

FILE_NAME = "dead-letters.jsonl"
"""In the storage folder."""


class _Value(msgspec.Struct, kw_only=True):
    value: str | None = None
    value_base64: str | None = None


class _Header(_Value, kw_only=True):
    name: str


class _Record(_Value, kw_only=True):
    topic: str
    partition: int
    offset: int
    key: str | None = None
    key_base64: str | None = None
    headers: list[_Header]
    error: str
    time: str
    truncated: int | None = None


_decode = JsonDecoder(_Record).decode


class FileDeadLetters:
    """Dead letters as JSON lines in one file, created with the first one.

    Text stands as it is under `key` and `value`, other bytes as base64 under `key_base64` and `value_base64`.
    """

    def __init__(self, path: Path, now: Callable[[], datetime], file_mode: int = FILE_MODE) -> None:
        self._path = path
        self._now = now
        self._file_mode = file_mode

    def send(self, invalid: Sequence[Invalid]) -> None:
        """Return only when all are on the disk; raise DeadLetterError otherwise."""
        time = self._now().isoformat()
        lines = [json.dumps(as_record(DeadLetter(one, time)), sort_keys=True).encode() for one in invalid]
        try:
            append_lines(self._path, lines, self._file_mode)
        except OSError as error:
            raise DeadLetterError(f"{self._path} did not accept a dead letter: {error}") from error

    def letters(self) -> Iterator[DeadLetter]:
        """All of them, the oldest first. A line that is none, as one torn by a crash, is passed over."""
        try:
            with os.fdopen(open_regular(str(self._path), os.O_RDONLY), "rb") as lines:
                yield from filter(None, map(_read, lines))
        except FileNotFoundError:
            return
        except OSError as error:
            raise OperatorError(f"{self._path} can't be read ({error.strerror}): fix that and run again") from error

    def drop(self, unwanted: Callable[[DeadLetter], bool]) -> int:
        """Remove some of those that are there now; how many that were."""
        try:
            return remove_lines(self._path, lambda line: (one := _read(line)) is not None and unwanted(one))
        except OSError as error:
            raise OperatorError(f"{self._path} can't be written ({error.strerror}): fix that and run again") from error


def as_record(one: DeadLetter) -> dict[str, Any]:
    """Write a dead letter as a JSON object."""
    message = one.message
    return {
        "error": message.error,
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "time": one.time,
        **_field("key", message.key),
        **_field("value", message.value),
        "headers": [{"name": name, **_field("value", value)} for name, value in message.headers],
        **({} if one.truncated is None else {"truncated": one.truncated}),
    }


def _read(line: bytes) -> DeadLetter | None:
    try:
        record = _decode(line)
        headers = [(one.name, _bytes(one.value, one.value_base64) or b"") for one in record.headers]
        key, value = _bytes(record.key, record.key_base64), _bytes(record.value, record.value_base64)
    except ValueError:
        return None
    message = Invalid(record.topic, record.partition, record.offset, key, value, headers, record.error)
    return DeadLetter(message, record.time, record.truncated)


def _field(name: str, value: bytes | None) -> dict[str, str | None]:
    try:
        return {name: None if value is None else value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value or b"").decode()}


def _bytes(text: str | None, base: str | None) -> bytes | None:
    if base is not None:
        return base64.b64decode(base)
    return None if text is None else text.encode()

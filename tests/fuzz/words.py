"""Targets: what comments say (events, bodies, links, list columns, rows) and what is counted of it."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, cast

from confluent_kafka import Message
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from consumer.kafka.kafka_python.records import read as read_records
from consumer.kafka.librdkafka.records import read as read_messages
from fuzz.target import Choices, Target, text_of
from projections.comments import body, labels, links
from projections.comments.events import TOPICS, CommentCreated, Event, InvalidEventError, decode, encode
from projections.comments.groups import Groups
from projections.comments.rows import AnalysisRow, CommentRow, events, register_halves
from projections.profile_key import ProfileKey
from projections.projection import Projection
from projections.store.memory import MemoryStore
from snapshot.build import build
from snapshot.schema import parse_file

_KINDS = list(TOPICS)
_WRITTEN = """
https:// http:// HTTPS://a.org :// a.org www. @ :443 :80 / ? # #/ #! & utm_source=x fbclid=1 = ( ) [ ] { } < > " ' `
\\ * _ ~ , . \u201c \u201d \u2026 \uff08 \uff09 \u3001 \u017f \u0130 \u00df (Reactions: (reactions: +1
[attachments: [Attachments: a.png None.x-m4a \u200b \ufeff
"""
_BODY = (*_WRITTEN.split(), "\n", "\r", "\t", " ", "\n> ", ")\n", "]\n", "\u2028", "\u00a0", "\0")
_VALUES = """
[ ] { } " , : \\ \\ud83d \\u0000 null true NaN -Infinity 1e999 -0 1.0 9223372036854775808
[[[[[[[[[[ {"a": ["a"] "a" a,b [] {} "2024-05-01T12:00:00" "0001-01-01T00:00:00+23:59" "g" 1 "tags": "resource_tags":
"""
_JSON = (*_VALUES.split(), " ", "\n", "\ufeff", "\u00e9")
_EVENT = (*_JSON, *(f'"{name}":' for name in CommentCreated.__struct_fields__))
_COMMENT = (
    b'{"comment_id":1,"user_id":2,"group_slug":"g","help_request_id":3,"body":"x",'
    b'"created_at":"2024-05-01T12:00:00","revision":4}'
)
_INSIGHT = b'{"comment_id":1,"user_id":2,"group_slug":"g","tags":["a"],"revision":4}'
_NESTED = _INSIGHT[:-1] + b',"unknown":' + b"[" * 1500 + b"]" * 1500 + b"}"


def read_event(data: bytes) -> None:
    """A message's value: an event, or InvalidEventError; an event is the same after it was written and read."""
    topic = _KINDS[data[0] % 2] if data else _KINDS[0]
    try:
        event = decode(topic, data[1:])
    except InvalidEventError:
        return
    assert decode(topic, encode(event)) == event
    publish([event])


def read_record(data: bytes) -> None:
    """A record of Kafka with any key, value and headers: an event or a dead letter, the same by both clients."""
    one = Choices(data)
    count = one.byte() % 4
    headers: list[tuple[str, str | bytes | None]] = [
        (one.text(), None if one.byte() == 0 else one.blob()) for _ in range(count)
    ]
    key = None if one.byte() == 0 else one.blob()
    value = None if one.byte() == 0 else one.blob()
    record = ConsumerRecord("comment-created", 0, 0, 7, 0, 0, key, value, headers, None, 0, 0, 0)
    found, invalid = read_records({TopicPartition("comment-created", 0): [record]}, 2**62)
    assert len(found) + len(invalid) == 1
    message = Message(topic="comment-created", partition=0, offset=7, key=key, value=value, headers=headers)
    same = read_messages([message], {("comment-created", 0): 7}, 2**62)
    assert (same.events, same.invalid) == (found, [one._replace(offset=7) for one in invalid])


def publish(found: Iterable[Event]) -> None:
    """Whatever an event holds can be counted, built, written and read again, and counts once."""
    for event in found:
        projection = Projection(MemoryStore(lambda: 0))
        key = ProfileKey(event.user_id, event.group_slug)
        projection.apply([event])
        once = projection.read_current([key])[key].head
        projection.apply([event, event])
        assert projection.read_current([key])[key].head == once
        snapshot = build(key, once)
        if snapshot is not None:
            assert parse_file(snapshot.file_bytes()) == snapshot
            plain = json.dumps(snapshot.to_dict(), sort_keys=True).encode()
            assert snapshot.snapshot_hash == hashlib.sha256(plain).hexdigest()


def read_text(data: bytes) -> None:
    """A body: links, reactions and attachments, each with a positive count, each link in its one form."""
    message = body.read(text_of(data))
    counts = [count for *_, count in message.links] + [count for _, count in message.reactions + message.attachments]
    assert all(count > 0 for count in counts)
    for url, _position, _count in message.links:
        _one_form(url)


def read_link(data: bytes) -> None:
    """Any text as a link: the canonical form of a canonical form is itself, and has the same host."""
    url = text_of(data)
    _one_form(links.canonical(url))
    for found in links.find(url):
        assert found in url
        assert links.domain(links.canonical(found)) == links.domain(found)
        assert any(character.isalnum() for character in links.domain(found))


def _one_form(canonical: str) -> None:
    assert links.canonical(canonical) == canonical
    links.domain(canonical)


def read_column(data: bytes) -> None:
    """A list column: trimmed texts, the same however deep the stack is, and the same when written as a JSON list."""
    text = text_of(data)
    found = labels.list_column(text)
    assert all(item and item == item.strip() for item in found)
    assert _deep(200, text) == found
    assert labels.list_column(json.dumps(found)) == found
    assert set(labels.labels(found, found, ())) == set(found)


def _deep(frames: int, text: str) -> tuple[str, ...]:
    return _deep(frames - 1, text) if frames else labels.list_column(text)


def read_rows(data: bytes) -> None:
    """Rows as the SELECTs let them through: any body and times. Each way of reading leaves out the same ones."""
    one = Choices(data)
    groups = Groups.from_rows(
        [(2, f"signal_import_group:{one.text()}", one.optional()), (2, "signal_import_group:g", "G")],
        [(3, f"[Signal] {one.text()}"), (3, "[Signal] G"), (3, one.optional())],
    )
    odd = [one.value("https://a.org"), one.value("2024-05-01"), one.value(None)]
    row = CommentRow(1, 2, 3, *cast("Any", odd))
    analyses = {1: AnalysisRow(1, one.optional(), one.optional(), one.optional(), one.optional())}
    found = list(events([row], analyses, groups, 5, lambda _error: None))
    publish(found)
    assert bool(found) == bool(list(register_halves([row], analyses, groups, lambda _error: None)))


WORDS = {
    "event": Target(read_event, _EVENT, (b"\0" + _COMMENT, b"\1" + _INSIGHT, b"\1" + _NESTED)),
    "record": Target(read_record, _EVENT, (b"\0\1\0\1\xff" + _COMMENT,)),
    "body": Target(read_text, _BODY, (b"> https://a.org\nhttps://b.org\n(Reactions: Ann +1)\n[attachments: a.png]",)),
    "link": Target(read_link, _BODY, (b"HTTPS://ann@Example.org:443/(a)?utm_source=x&id=1#/top",)),
    "column": Target(read_column, _JSON, (b'["a", 1, " b "]', b"a, b", b'"a"', b"[a", b"[" * 1500 + b"]" * 1500)),
    "row": Target(read_rows, (*_BODY, *_JSON), (bytes(range(64)), b"\x0b" * 16)),
}

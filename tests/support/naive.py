"""The projection by the plainest reading of DESIGN.md: the latest reading of each comment, everything counted again.

What one body or analysis says comes from `projections.comments.body`; nothing here knows of folds, registers or stores.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from projections.comments import body, labels
from projections.comments.events import CommentCreated, Event, InsightCreated
from projections.profile_key import ProfileKey

TOP_N = 5
Half = tuple[int, int, int, Any, Any, Any]
"""State (0 live, 1 deleted, 2 gone), microseconds since 1970, request, links, reactions, attachments."""


class Counted(NamedTuple):
    """What a profile shows, and its digest."""

    comments: int
    first_seen: int | None
    last_seen: int | None
    requests: dict[int, int]
    reactions: dict[str, int]
    attachments: dict[str, int]
    links: list[tuple[str, int]]
    tags: list[tuple[str, int]]
    digest: int


class Comment(NamedTuple):
    """The latest reading of both halves, with their revisions; None while one was never read."""

    half: Half | None
    labels: tuple[str, ...]
    revisions: tuple[int, int]


def latest(events: Iterable[Event]) -> dict[ProfileKey, dict[int, Comment]]:
    """For each profile the comments as their latest readings have them."""
    halves: dict[tuple[ProfileKey, int], list[tuple[int, int, bytes, Half]]] = {}
    analyses: dict[tuple[ProfileKey, int], list[tuple[int, bool, bytes, tuple[str, ...]]]] = {}
    for event in events:
        place = (ProfileKey(event.user_id, event.group_slug), event.comment_id)
        if isinstance(event, CommentCreated):
            half = _half(event)
            halves.setdefault(place, []).append((event.revision, half[0], msgspec.msgpack.encode(half), half))
        else:
            labels = _labels(event)
            analyses.setdefault(place, []).append((event.revision, not labels, msgspec.msgpack.encode(labels), labels))
    found: dict[ProfileKey, dict[int, Comment]] = {}
    for key, comment_id in {**halves, **analyses}:
        half_reading = max(halves.get((key, comment_id), []), default=None)
        analysis = max(analyses.get((key, comment_id), []), default=None)
        found.setdefault(key, {})[comment_id] = Comment(
            half_reading[-1] if half_reading else None,
            analysis[-1] if analysis else (),
            (half_reading[0] if half_reading else -1, analysis[0] if analysis else -1),
        )
    return found


def _half(event: CommentCreated) -> Half:
    if event.gone:
        return (2, 0, 0, (), (), ())
    created_at = round((event.created_at - datetime(1970, 1, 1)).total_seconds() * 1e6)  # noqa: DTZ001  UTC, as stored
    if event.deleted_at is not None:
        return (1, created_at, event.help_request_id, (), (), ())
    return (0, created_at, event.help_request_id, *body.read(event.body))


def _labels(event: InsightCreated) -> tuple[str, ...]:
    return labels.labels(event.resource_tags, event.request_tags, event.tags)


def counted(comments: dict[int, Comment]) -> Counted:
    """Everything that one profile shows, from its comments."""
    live = sorted((one.half[1], number, one) for number, one in comments.items() if one.half and one.half[0] == 0)
    links: Counter[str] = Counter()
    tags: Counter[str] = Counter()
    requests: Counter[int] = Counter()
    reactions: Counter[str] = Counter()
    attachments: Counter[str] = Counter()
    for _, _, comment in live:  # in order of appearance, which a Counter keeps
        assert comment.half is not None
        requests[comment.half[2]] += 1
        for url, _, times in comment.half[3]:
            links[url] += times
        reactions.update(dict(comment.half[4]))
        attachments.update(dict(comment.half[5]))
        tags.update(comment.labels)
    return Counted(
        comments=len(live),
        first_seen=live[0][0] if live else None,
        last_seen=live[-1][0] if live else None,
        requests=dict(requests),
        reactions=dict(reactions),
        attachments=dict(attachments),
        links=_top(links),
        tags=_top(tags),
        digest=_digest(comments),
    )


def _top(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: -pair[1])[:TOP_N]  # stable: first appearance stays first


def _digest(comments: dict[int, Comment]) -> int:
    total = 0
    for number, comment in comments.items():
        if comment.half is not None and comment.half[0] != 2:
            content = msgspec.msgpack.encode((number, comment.half, comment.labels))
            total += int.from_bytes(hashlib.blake2b(content, digest_size=16).digest(), "big")
    return total % 2**128

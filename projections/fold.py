"""The fold: from loaded slices of profiles and new events to changes. Pure; all meaning of counting is here.

A slice is the part of a profile that a batch touches: the head, the registers of the events' comments, and the labels
of these comments before and after. The same code serves live traffic, mending, rebuilding and tests.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

import msgspec

from projections.events import COMMENT_CREATED, INSIGHT_CREATED, Event
from projections.profile import Head
from projections.ranking import Appearance, Extremes, Label, Ranking
from projections.register import LIVE, NOTHING, CommentHalf, Reading, Register, fingerprint, merge, reading

TOUCHED_AT_MOST = 4096
"""More comments than these changed during one mend: it is given up and begun again, so that the head stays small."""

_MODULUS = 2**128
_Key = TypeVar("_Key", int, str)


class Transition(NamedTuple):
    """One comment's register before and after a batch."""

    comment_id: int
    old: Register
    new: Register


class Slice(msgspec.Struct):
    """The loaded part of one profile. A label that was loaded and does not exist is absent from the map."""

    head: Head
    registers: dict[int, Register]
    links: dict[str, Label]
    tags: dict[str, Label]


class Changes(msgspec.Struct):
    """What a batch changes in one profile; None for a label that no longer occurs. `dirty`: the content changed."""

    head: Head
    registers: dict[int, Register]
    links: dict[str, Label | None]
    tags: dict[str, Label | None]
    dirty: bool


def fold(part: Slice, events: Iterable[Event]) -> Changes:
    """Apply events to a slice that holds all that they touch; the slice is used up."""
    return advance(part, transitions(part.registers, map(reading, events)))


def transitions(registers: Mapping[int, Register], readings: Iterable[Reading]) -> list[Transition]:
    """The registers that these readings change, in order of comment id, revisions included."""
    grouped: dict[int, list[Reading]] = {}
    for one in readings:
        grouped.setdefault(one.comment_id, []).append(one)
    found = []
    for comment_id in sorted(grouped):
        old = registers.get(comment_id, NOTHING)
        new = merge(old, grouped[comment_id])
        if new != old:
            found.append(Transition(comment_id, old, new))
    return found


def touched_labels(moves: Iterable[Transition]) -> tuple[set[str], set[str]]:
    """The links and the tags whose records these transitions need."""
    links: set[str] = set()
    tags: set[str] = set()
    for move in moves:
        for register in (move.old, move.new):
            if register.comment is not None and register.comment.state == LIVE:
                links.update(link[0] for link in register.comment.links)
                tags.update(register.labels)
    return links, tags


def advance(part: Slice, moves: list[Transition]) -> Changes:
    """Carry transitions into the aggregates; the slice is used up."""
    head = part.head
    links: dict[str, Label] = {}
    tags: dict[str, Label] = {}
    digest = int.from_bytes(head.digest, "big")
    dirty = False
    for move in moves:
        comment_id, old, new = move
        if old.comment == new.comment and old.labels == new.labels:
            continue
        dirty = True
        digest += fingerprint(comment_id, new) - fingerprint(comment_id, old)
        _carry(head, part, links, tags, move)
        if head.mender:
            head.touched.append(comment_id)
        head.cause = (COMMENT_CREATED if old.comment != new.comment else INSIGHT_CREATED, comment_id)
    if dirty:
        head.digest = (digest % _MODULUS).to_bytes(16, "big")
        _close(head, links, tags)
    return Changes(
        head,
        {move.comment_id: move.new for move in moves},
        {name: label if label.count > 0 else None for name, label in links.items()},
        {name: label if label.count > 0 else None for name, label in tags.items()},
        dirty,
    )


def _carry(head: Head, part: Slice, links: dict[str, Label], tags: dict[str, Label], move: Transition) -> None:
    """Take the old register's contributions out and put the new one's in, each half only where it changed."""
    comment_id, old, new = move
    before = old.comment if old.comment is not None and old.comment.state == LIVE else None
    after = new.comment if new.comment is not None and new.comment.state == LIVE else None
    if before != after:
        if before is not None:
            _count_comment(head, part.links, links, comment_id, before, -1)
        if after is not None:
            _count_comment(head, part.links, links, comment_id, after, 1)
    if before is not None and after is not None and old.labels == new.labels and before.created_at == after.created_at:
        return
    if before is not None:
        for position, name in enumerate(old.labels):
            _count_label(part.tags, tags, name, (before.created_at, comment_id, position), -1)
    if after is not None:
        for position, name in enumerate(new.labels):
            _count_label(part.tags, tags, name, (after.created_at, comment_id, position), 1)


def _count_comment(  # noqa: PLR0913, PLR0917 - the hot path of the fold: an object to bundle these would cost a fifth of it
    head: Head, known: Mapping[str, Label], links: dict[str, Label], comment_id: int, half: CommentHalf, sign: int
) -> None:
    created_at = half.created_at
    head.count += sign
    if sign > 0:
        head.first.add((created_at, comment_id, 0))
        head.last.add((-created_at, -comment_id, 0))
    else:
        head.first.remove((created_at, comment_id, 0))
        head.last.remove((-created_at, -comment_id, 0))
    _tally(head.requests, half.help_request_id, sign)
    for word, times in half.reactions:
        _tally(head.reactions, word, sign * times)
    for kind, times in half.attachments:
        _tally(head.attachments, kind, sign * times)
    for url, position, times in half.links:
        _count_label(known, links, url, (created_at, comment_id, position), sign * times)


def _tally(counts: dict[_Key, int], key: _Key, change: int) -> None:
    count = counts.get(key, 0) + change
    if count:
        counts[key] = count
    else:
        counts.pop(key, None)


def _count_label(
    known: Mapping[str, Label], changed: dict[str, Label], name: str, where: Appearance, change: int
) -> None:
    label = changed.get(name)
    if label is None:
        label = changed[name] = known.get(name) or Label()
    label.count += change
    if label.count <= 0:
        label.first = Extremes()
    elif change > 0:
        label.first.add(where)
    else:
        label.first.remove(where)


def _close(head: Head, links: dict[str, Label], tags: dict[str, Label]) -> None:
    """Bring rankings, extremes and the mend flag up to date after all transitions."""
    if head.count <= 0:
        head.first, head.last = Extremes(), Extremes()
    known = _rank(head.links, links) & _rank(head.tags, tags)
    extremes = head.count <= 0 or (bool(head.first.kept) and bool(head.last.kept))
    head.mend = not (known and extremes) or head.needs_mend()
    if len(head.touched) > TOUCHED_AT_MOST:
        head.mender, head.touched = "", []


def _rank(ranking: Ranking, labels: Mapping[str, Label]) -> bool:
    """Place the changed labels; whether all their first appearances are known."""
    known = True
    for name, label in labels.items():
        if label.count > 0:
            known = known and label.known()
            ranking.place(name, label.rank())
        else:
            ranking.place(name, None)
    return known


def aggregate(registers: Mapping[int, Register]) -> Changes:
    """All aggregates anew from all registers of a profile: what mending saves, and what a full read gives."""
    part = Slice(Head(), {}, {}, {})
    return advance(part, [Transition(comment_id, NOTHING, registers[comment_id]) for comment_id in sorted(registers)])

"""The fold: from loaded slices of profiles and new events to changes. Pure; all meaning of counting is here.

A slice is the part of a profile that a batch touches: the head, the registers of the events' comments, and the labels
of these comments before and after. The same code serves live traffic, recomputing, rebuilding and tests.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from operator import attrgetter
from typing import TypeVar

import msgspec

from projections.comments.events import COMMENT_CREATED, COMMENT_DELETED, INSIGHT_CREATED
from projections.comments.register import (
    EMPTY_REGISTER,
    LIVE,
    CommentHalf,
    HalfUpdate,
    Register,
    fingerprint,
    merge,
)
from projections.comments.register import (
    counts as is_counted,
)
from projections.profiles.head import Head
from projections.profiles.ranking import Appearance, EarliestComments, LabelStats, Ranking

MAX_TOUCHED = 4096
"""Where more comments than these change during one recompute, it starts again, so that the head stays small."""

_MODULUS = 2**128
_comment_id: Callable[[HalfUpdate], int] = attrgetter("comment_id")
_Key = TypeVar("_Key", int, str)
_Uses = Mapping[str, tuple[Appearance, int]]
"""For each link, or tag, of one comment where it first appears and how often it occurs."""

_NO_USES: _Uses = {}


class Transition(msgspec.Struct, frozen=True, gc=False):
    """One comment's register before and after a batch."""

    comment_id: int
    old: Register
    new: Register


class Slice(msgspec.Struct):
    """The loaded part of one profile. A label that was loaded and does not exist is absent from the map."""

    head: Head
    registers: dict[int, Register]
    links: dict[str, LabelStats]
    tags: dict[str, LabelStats]


class Changes(msgspec.Struct):
    """What a batch changes in one profile; None for a label that no longer occurs. `dirty`: the content changed."""

    head: Head
    registers: dict[int, Register]
    links: dict[str, LabelStats | None]
    tags: dict[str, LabelStats | None]
    dirty: bool


def transitions(registers: Mapping[int, Register], updates: Iterable[HalfUpdate]) -> list[Transition]:
    """The registers that these updates change, in order of comment id, revisions included."""
    found = []
    for comment_id, mine in groupby(sorted(updates, key=_comment_id), _comment_id):
        old = registers.get(comment_id, EMPTY_REGISTER)
        new = merge(old, mine)
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
    """Apply transitions to the aggregates; the slice holds all that they touch, and is used up."""
    head = part.head
    links: dict[str, LabelStats] = {}
    tags: dict[str, LabelStats] = {}
    digest = 0
    touched: list[int] = []
    last: Transition
    for move in moves:
        comment_id, old, new = move.comment_id, move.old, move.new
        if old.comment == new.comment and old.labels == new.labels:
            continue
        digest += fingerprint(comment_id, new)
        if old is not EMPTY_REGISTER:
            digest -= fingerprint(comment_id, old)
        _apply_transition(head, part, links, tags, move)
        touched.append(comment_id)
        last = move
    if touched:
        head.cause = (_cause(last.old, last.new), last.comment_id)
        digest += int.from_bytes(head.digest, "big")
        head.digest = (digest % _MODULUS).to_bytes(16, "big")
        _finalize(head, links, tags)
        if head.recomputer:
            _record_touched(head, touched)
    return Changes(
        head,
        {move.comment_id: move.new for move in moves},
        {name: label if label.count > 0 else None for name, label in links.items()},
        {name: label if label.count > 0 else None for name, label in tags.items()},
        bool(touched),
    )


def _cause(old: Register, new: Register) -> str:
    if old.comment == new.comment:
        return INSIGHT_CREATED
    return COMMENT_DELETED if is_counted(old) and not is_counted(new) else COMMENT_CREATED


def _apply_transition(
    head: Head, part: Slice, links: dict[str, LabelStats], tags: dict[str, LabelStats], move: Transition
) -> None:
    """Replace the old register's contributions by the new one's, only where they differ."""
    comment_id, old, new = move.comment_id, move.old, move.new
    before, after = _live(old), _live(new)
    if before is None and after is not None:
        _add_comment(head, comment_id, after)
        for url, position, times in after.links:
            _label(part.links, links, url).appear((after.created_at, comment_id, position), times)
        for position, name in enumerate(new.labels):
            _label(part.tags, tags, name).appear((after.created_at, comment_id, position), 1)
    elif before is not None:
        if before != after:
            _remove_comment(head, comment_id, before, after)
            _recount(part.links, links, _links(comment_id, before), _links(comment_id, after))
        _recount(part.tags, tags, _tags(comment_id, before, old), _tags(comment_id, after, new))


def _live(register: Register) -> CommentHalf | None:
    half = register.comment
    return half if half is not None and half.state == LIVE else None


def _add_comment(head: Head, comment_id: int, half: CommentHalf) -> None:
    """Count a comment."""
    _tally_comment(head, half, 1)
    head.first.add((half.created_at, comment_id, 0))
    head.last.add((-half.created_at, -comment_id, 0))


def _remove_comment(head: Head, comment_id: int, before: CommentHalf, after: CommentHalf | None) -> None:
    """Take a comment out, or count it as it is now; while its time is the same it keeps its place."""
    _tally_comment(head, before, -1)
    if after is not None and after.created_at == before.created_at:
        _tally_comment(head, after, 1)
        return
    if head.count:
        head.first.remove((before.created_at, comment_id, 0))
        head.last.remove((-before.created_at, -comment_id, 0))
    else:
        head.first, head.last = EarliestComments(), EarliestComments()
    if after is not None:
        _add_comment(head, comment_id, after)


def _tally_comment(head: Head, half: CommentHalf, sign: int) -> None:
    head.count += sign
    _tally(head.requests, half.help_request_id, sign)
    for word, times in half.reactions:
        _tally(head.reactions, word, sign * times)
    for kind, times in half.attachments:
        _tally(head.attachments, kind, sign * times)


def _tally(counts: dict[_Key, int], key: _Key, change: int) -> None:
    count = counts.get(key, 0) + change
    if count:
        counts[key] = count
    else:
        counts.pop(key, None)


def _links(comment_id: int, half: CommentHalf | None) -> _Uses:
    if half is None or not half.links:
        return _NO_USES
    return {url: ((half.created_at, comment_id, position), times) for url, position, times in half.links}


def _tags(comment_id: int, half: CommentHalf | None, register: Register) -> _Uses:
    if half is None or not register.labels:
        return _NO_USES
    return {name: ((half.created_at, comment_id, position), 1) for position, name in enumerate(register.labels)}


def _recount(known: Mapping[str, LabelStats], changed: dict[str, LabelStats], before: _Uses, after: _Uses) -> None:
    """Replace one comment's uses of links, or of tags."""
    for name, (where, times) in before.items():
        if name not in after:
            _label(known, changed, name).retract(where, times)
    for name, use in after.items():
        old = before.get(name)
        if old is None:
            _label(known, changed, name).appear(*use)
        elif old != use:
            _label(known, changed, name).replace(old, use)


def _label(known: Mapping[str, LabelStats], changed: dict[str, LabelStats], name: str) -> LabelStats:
    label = changed.get(name)
    if label is None:
        label = changed[name] = known.get(name) or LabelStats()
    return label


def _finalize(head: Head, links: dict[str, LabelStats], tags: dict[str, LabelStats]) -> None:
    """After all transitions: place the changed labels, and flag the head where it no longer knows enough."""
    known = _rank(head.links, links) & _rank(head.tags, tags)
    extremes = head.count == 0 or (bool(head.first.kept) and bool(head.last.kept))
    head.recompute = head.recompute or not (known and extremes)


def _record_touched(head: Head, touched: Iterable[int]) -> None:
    """List the comments that the running recompute has to read again."""
    head.touched = sorted({*head.touched, *touched})
    if len(head.touched) > MAX_TOUCHED:
        head.recomputer, head.touched = "", []


def _rank(ranking: Ranking, labels: Mapping[str, LabelStats]) -> bool:
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
    """All aggregates from all registers of a profile: what a recompute saves, and what a full read gives."""
    part = Slice(Head(), {}, {}, {})
    return advance(
        part, [Transition(comment_id, EMPTY_REGISTER, registers[comment_id]) for comment_id in sorted(registers)]
    )

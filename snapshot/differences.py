"""Rows against registers: the events that would make profiles say what their rows say. Pure.

A difference's revision is fixed here, once: the greater of what its half of the register had, plus one, and the
database's time; both were read before the rows.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import NamedTuple

import msgspec

from projections.events import CommentCreated, Event, InsightCreated
from projections.groups import Groups
from projections.history import AnalysisRow, CommentRow, UnreadableRowError, events
from projections.profile import ProfileKey
from projections.register import (
    CommentHalf,
    Register,
    counts,
    fingerprint,
    has_row,
    reading,
    unpack,
)

Unreadable = Callable[[UnreadableRowError], object]
Registers = Mapping[ProfileKey, dict[int, bytes]]
"""Packed registers by comment id, of each profile that the store has."""

_MODULUS = 2**128
_NO_TIME = datetime(1970, 1, 1)  # noqa: DTZ001 - a comment that is gone counts nowhere, so its time is never looked at


class RowReading(NamedTuple):
    """What one row says in one profile: the event and its meaning, and the same of its analysis."""

    key: ProfileKey
    comment: CommentCreated
    half: CommentHalf
    insight: InsightCreated | None
    labels: tuple[str, ...]


def row_readings(
    comments: Iterable[CommentRow],
    analyses: Mapping[int, AnalysisRow],
    groups: Groups,
    revision: int,
    unreadable: Unreadable,
) -> Iterator[RowReading]:
    """Read rows as the fold would, both halves of a comment together."""
    waiting: deque[tuple[ProfileKey, CommentCreated, CommentHalf]] = deque()
    for event in events(comments, analyses, groups, revision, unreadable):
        new = reading(event)
        if isinstance(event, CommentCreated):
            assert new.comment is not None  # noqa: S101 - what `reading` says of a comment
            key = ProfileKey(event.user_id, event.group_slug)
            if event.comment_id in analyses:
                waiting.append((key, event, new.comment))  # its insights follow, in the same order of groups
            else:
                yield RowReading(key, event, new.comment, None, ())
        else:
            yield RowReading(*waiting.popleft(), event, new.labels or ())


class Cause(NamedTuple):
    """One fact that ends comments whose rows are still there: a membership that ended, or a request renamed."""

    kind: str
    request_id: int
    key: ProfileKey | None


class Ending(NamedTuple):
    """A comment that counted and no longer does; `cause` where its row is still there."""

    key: ProfileKey
    cause: Cause | None


class Tally(msgspec.Struct):
    """What was seen of one stored profile: digests and counts of its registers and of its rows.

    `revisions` is the sum of the registers'; `labelled` counts comments with labels, `rows` the soft-deleted ones too.
    """

    registers_digest: int = 0
    rows_digest: int = 0
    revisions: int = 0
    counted: int = 0
    counting: int = 0
    labelled: int = 0
    rows: int = 0
    unlabelled: int = 0
    """Comments whose labels all vanish although their rows still count."""
    differences: int = 0
    tombstones: int = 0
    """How many of the differences are of comments that count neither before nor after."""
    endings: dict[Cause | None, int] = {}


class Comparison:
    """Compares the registers of some users with their rows, a page of rows at a time, then with what has no row."""

    def __init__(self, registers: Registers, time: int, unreadable: Unreadable) -> None:
        self._registers = registers
        self._time = time
        self._unreadable = unreadable
        self._slugs: dict[int, list[str]] = {}
        self.tallies: dict[ProfileKey, Tally] = {}
        self.missing: dict[ProfileKey, int] = {}
        """Profiles that have rows but no registers, with how many of the rows count."""
        for key, mine in registers.items():
            self._slugs.setdefault(key.user_id, []).append(key.group_slug)
            self.tallies[key] = _tally(mine)

    def page(self, comments: list[CommentRow], analyses: Mapping[int, AnalysisRow], groups: Groups) -> list[Event]:
        """Give the events that this page of rows asks for."""
        new = [row for row in comments if row.user_id not in self._slugs]
        found = list(events(new, analyses, groups, self._time, self._unreadable))
        for event in found:
            if isinstance(event, CommentCreated):
                self._miss(event)
        known = [row for row in comments if row.user_id in self._slugs]
        for row in row_readings(known, analyses, groups, self._time, self._unreadable):
            if row.key in self._registers:
                found += self._compared(row)
            else:
                self._miss(row.comment)
                found += [row.comment] if row.insight is None else [row.comment, row.insight]
        for comment in known:
            found += self._elsewhere(comment, groups)
        return found

    def rest(self, limit: int) -> Iterator[list[Event]]:
        """After the last page: registers without a row, as pages of events that say they are gone."""
        left = (event for key, mine in self._registers.items() for event in self._gone(key, mine))
        while page := list(islice(left, limit)):
            yield page

    def _miss(self, comment: CommentCreated) -> None:
        key = ProfileKey(comment.user_id, comment.group_slug)
        self.missing[key] = self.missing.get(key, 0) + (comment.deleted_at is None)

    def _compared(self, row: RowReading) -> Iterator[Event]:
        comment_id = row.comment.comment_id
        packed = self._registers[row.key].pop(comment_id, None)
        old = Register() if packed is None else unpack(packed)
        new = Register(self._time, row.half, self._time, row.labels)
        tally = self.tallies[row.key]
        tally.rows += 1
        tally.rows_digest = (tally.rows_digest + fingerprint(comment_id, new)) % _MODULUS
        tally.counting += counts(new)
        if counts(old) and not counts(new):
            _end(tally, None)
        if counts(old) and counts(new) and old.labels and not new.labels:
            tally.unlabelled += 1
        if old.comment != row.half:
            tally.differences += 1
            tally.tombstones += not (counts(old) or counts(new))
            yield _revised(row.comment, old.comment_revision)
        if old.labels != row.labels:
            tally.differences += 1
            tally.tombstones += not (counts(old) or counts(new))
            yield _revised(row.insight or _vanished(row.comment), old.insight_revision)

    def _elsewhere(self, row: CommentRow, groups: Groups) -> Iterator[Event]:
        """Find the stored profiles of the row's own user in which it no longer counts."""
        for slug in self._slugs.get(row.user_id, ()):
            key = ProfileKey(row.user_id, slug)
            mine = self._registers[key]
            if row.comment_id in mine and slug not in groups.slugs(row.user_id, row.help_request_id):
                old = unpack(mine.pop(row.comment_id))
                yield from self._end(key, row.comment_id, old, _cause(key, old, row, groups))

    def _gone(self, key: ProfileKey, mine: dict[int, bytes]) -> Iterator[Event]:
        for comment_id in sorted(mine):
            yield from self._end(key, comment_id, unpack(mine.pop(comment_id)), None)

    def _end(self, key: ProfileKey, comment_id: int, old: Register, cause: Cause | None) -> Iterator[Event]:
        if old.comment is None or not has_row(old):
            return
        tally = self.tallies[key]
        tally.differences += 1
        if counts(old):
            _end(tally, cause)
        else:
            tally.tombstones += 1
        gone = CommentCreated(
            comment_id=comment_id,
            user_id=key.user_id,
            group_slug=key.group_slug,
            help_request_id=old.comment.help_request_id,
            body="",
            created_at=_NO_TIME,
            gone=True,
            revision=self._time,
        )
        yield _revised(gone, old.comment_revision)


def _tally(registers: Mapping[int, bytes]) -> Tally:
    tally = Tally()
    for comment_id, packed in registers.items():
        register = unpack(packed)
        tally.registers_digest += fingerprint(comment_id, register)
        tally.revisions += register.comment_revision + register.insight_revision
        if counts(register):
            tally.counted += 1
            tally.labelled += bool(register.labels)
    tally.registers_digest %= _MODULUS
    return tally


def _end(tally: Tally, cause: Cause | None) -> None:
    tally.endings[cause] = tally.endings.get(cause, 0) + 1


def _cause(key: ProfileKey, old: Register, row: CommentRow, groups: Groups) -> Cause | None:
    if key.group_slug not in groups.members.get(key.user_id, {}):
        return Cause("membership", 0, key)
    if old.comment is not None and old.comment.help_request_id == row.help_request_id:
        return Cause("request", row.help_request_id, None)
    return None


def _vanished(comment: CommentCreated) -> InsightCreated:
    return InsightCreated(
        comment_id=comment.comment_id,
        user_id=comment.user_id,
        group_slug=comment.group_slug,
        revision=comment.revision,
    )


def _revised(event: Event, before: int) -> Event:
    if event.revision > before:
        return event
    return msgspec.structs.replace(event, revision=before + 1)

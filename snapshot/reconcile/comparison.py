"""Rows against registers: the events that would make profiles say what their rows say. Pure.

A difference's revision is fixed here, once: the greater of what its half of the register had, plus one, and the
database's time; both were read before the rows.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import NamedTuple

import msgspec

from projections.comments.events import CommentCreated, Event
from projections.comments.groups import Groups
from projections.comments.register import (
    EMPTY_REGISTER,
    LIVE,
    CommentHalf,
    Register,
    counts,
    fingerprint,
    has_row,
    unpack,
)
from projections.comments.rows import AnalysisRow, CommentRow, InvalidRowHandler, contents, events, insight
from projections.profile_key import ProfileKey
from snapshot.deletion_guard import Cause, PendingDeletions

__all__ = ["Cause", "Comparison", "InvalidRowHandler", "Registers", "Tally"]

Registers = Mapping[ProfileKey, dict[int, bytes]]
"""Packed registers by comment id, of each profile that the store has."""

_MODULUS = 2**128
_NO_TIME = datetime(1970, 1, 1)  # noqa: DTZ001 - a comment that is gone counts nowhere, so its time is never looked at


class _Content(NamedTuple):
    key: ProfileKey
    row: CommentRow
    half: CommentHalf
    labels: tuple[str, ...]


class StaleHalves(NamedTuple):
    """Which halves of a register have to be said again: the revision that each had, None for one that is right."""

    comment: int | None
    insight: int | None


_BOTH = StaleHalves(-1, -1)
_NEITHER = StaleHalves(None, None)


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

    def __init__(self, registers: Registers, time: int, unreadable: InvalidRowHandler) -> None:
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
                key = ProfileKey(event.user_id, event.group_slug)
                self.missing[key] = self.missing.get(key, 0) + (event.deleted_at is None)
        known = [row for row in comments if row.user_id in self._slugs]
        for row, slugs, half, labels in contents(known, analyses, groups, self._unreadable):
            for slug in slugs:
                one = _Content(ProfileKey(row.user_id, slug), row, half, labels)
                if one.key in self._registers:
                    wanted = self._compared(one)
                else:
                    self.missing[one.key] = self.missing.get(one.key, 0) + (half.state == LIVE)
                    wanted = _BOTH
                if wanted != _NEITHER:
                    found += self._repair_events(one, wanted, analyses.get(row.comment_id), groups)
        for comment in known:
            found += self._moved_away(comment, groups)
        return found

    def rest(self, limit: int) -> Iterator[list[Event]]:
        """After the last page: registers without a row, as pages of events that say they are gone."""
        left = (event for key, mine in self._registers.items() for event in self._removed(key, mine))
        while page := list(islice(left, limit)):
            yield page

    def _compared(self, one: _Content) -> StaleHalves:
        """Compare a row with its register."""
        packed = self._registers[one.key].pop(one.row.comment_id, None)
        old = EMPTY_REGISTER if packed is None else unpack(packed)
        new = Register(self._time, one.half, self._time, one.labels)
        tally = self.tallies[one.key]
        tally.rows += 1
        tally.rows_digest = (tally.rows_digest + fingerprint(one.row.comment_id, new)) % _MODULUS
        counted, counting = counts(old), counts(new)
        tally.counting += counting
        if counted and not counting:
            _count_deletion(tally, None)
        if counted and counting and old.labels and not new.labels:
            tally.unlabelled += 1
        comment = old.comment_revision if old.comment != one.half else None
        insight = old.insight_revision if old.labels != one.labels else None
        differences = (comment is not None) + (insight is not None)
        tally.differences += differences
        if not (counted or counting):
            tally.tombstones += differences
        return StaleHalves(comment, insight)

    def _repair_events(
        self, one: _Content, wanted: StaleHalves, analysis: AnalysisRow | None, groups: Groups
    ) -> Iterator[Event]:
        """Say these halves again, each under a higher revision."""
        known = {} if analysis is None else {one.row.comment_id: analysis}
        for event in events([one.row], known, groups, self._time):
            before = wanted.comment if isinstance(event, CommentCreated) else wanted.insight
            if before is not None and event.group_slug == one.key.group_slug:
                yield _revised(event, before)
        if analysis is None and wanted.insight is not None and one.key in self._registers:  # it vanished
            yield _revised(insight(one.row, one.key.group_slug, None, self._time), wanted.insight)

    def _moved_away(self, row: CommentRow, groups: Groups) -> Iterator[Event]:
        """Find the stored profiles of the row's own user in which it no longer counts."""
        for slug in self._slugs.get(row.user_id, ()):
            key = ProfileKey(row.user_id, slug)
            mine = self._registers[key]
            if row.comment_id in mine and slug not in groups.slugs(row.user_id, row.help_request_id):
                old = unpack(mine.pop(row.comment_id))
                yield from self._count_deletion(key, row.comment_id, old, _cause(key, old, row, groups))

    def _removed(self, key: ProfileKey, mine: dict[int, bytes]) -> Iterator[Event]:
        for comment_id in sorted(mine):
            yield from self._count_deletion(key, comment_id, unpack(mine.pop(comment_id)), None)

    def _count_deletion(self, key: ProfileKey, comment_id: int, old: Register, cause: Cause | None) -> Iterator[Event]:
        if old.comment is None or not has_row(old):
            return
        tally = self.tallies[key]
        tally.differences += 1
        if counts(old):
            _count_deletion(tally, cause)
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


def _count_deletion(tally: Tally, cause: Cause | None) -> None:
    tally.endings[cause] = tally.endings.get(cause, 0) + 1


def _cause(key: ProfileKey, old: Register, row: CommentRow, groups: Groups) -> Cause | None:
    if key.group_slug not in groups.members.get(key.user_id, {}):
        return Cause("membership", 0, key)
    if old.comment is not None and old.comment.help_request_id == row.help_request_id:
        return Cause("request", row.help_request_id, None)
    return None


def _revised(event: Event, before: int) -> Event:
    if event.revision > before:
        return event
    return msgspec.structs.replace(event, revision=before + 1)


def count_deletions(endings: PendingDeletions, tally: Tally) -> None:
    """Count what one profile's differences would end."""
    endings.labels += tally.unlabelled
    endings.labelled += tally.labelled
    for cause, comments in tally.endings.items():
        endings.count(cause, 0, comments)
    if tally.counted and not tally.counting:
        endings.count(next(iter(tally.endings)) if len(tally.endings) == 1 else None, 1, 0)

"""Rows against registers: the events that would make profiles say what their rows say. Pure.

A difference's revision is fixed here, once: the greater of what its half of the register had, plus one, and the
database's time; both were read before the rows.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import msgspec

from projections.comments.events import CommentCreated, Event, gone
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
from projections.comments.rows import AnalysisRow, CommentRow, InvalidRowHandler, events, insight, register_halves
from projections.profile_key import ProfileKey
from snapshot.deletion_guard import Cause, PendingDeletions, cause_of

__all__ = ["Comparison", "InvalidRowHandler", "ProfileComparison", "Registers"]

Registers = Mapping[ProfileKey, dict[int, bytes]]
"""Packed registers by comment id, of each profile that the store has."""

_MODULUS = 2**128


class _Content(NamedTuple):
    """What a row gives one profile."""

    key: ProfileKey
    row: CommentRow
    half: CommentHalf
    tags: tuple[str, ...]


class StaleHalves(NamedTuple):
    """Which halves of a register a new event has to replace: the revision that each has, None for one that is right."""

    comment: int | None
    insight: int | None


_NO_REGISTER = StaleHalves(-1, -1)
_IN_STEP = StaleHalves(None, None)


class RegisterSums(msgspec.Struct):
    """One profile as it is stored: all its registers' digest and revisions, and how many comments count."""

    digest: int = 0
    revisions: int = 0
    comments: int = 0


class RowSums(msgspec.Struct):
    """The same profile as its rows give it: their digest, how many there are (soft-deleted too), how many count."""

    digest: int = 0
    rows: int = 0
    comments: int = 0


class ProfileComparison(msgspec.Struct):
    """One stored profile beside its rows.

    `differences` counts halves of registers and registers that have no row here; `tombstones` those of them whose
    comment counts neither before nor after, so that no snapshot changes. `deleted` counts comments that no longer
    count, by cause. Of those that go on counting, `tagged` had tags, and `untagged` of these lose them all.
    """

    stored: RegisterSums
    rows: RowSums = msgspec.field(default_factory=RowSums)
    differences: int = 0
    tombstones: int = 0
    deleted: dict[Cause | None, int] = {}
    tagged: int = 0
    untagged: int = 0

    def delete(self, cause: Cause | None) -> None:
        """Count a comment that counted until now."""
        self.deleted[cause] = self.deleted.get(cause, 0) + 1

    def differ(self, halves: int, *, visible: bool) -> None:
        """Count differences of one comment; `visible`: it counts before or after."""
        self.differences += halves
        self.tombstones += 0 if visible else halves


class Comparison:
    """Compares the registers of some users with their rows, a page of rows at a time, then with what has no row.

    `registers` is used up: what a row was found for is taken out.
    """

    def __init__(self, registers: Registers, time: int, on_invalid_row: InvalidRowHandler) -> None:
        self._registers = registers
        self._time = time
        self._on_invalid_row = on_invalid_row
        self._slugs: dict[int, list[str]] = {}
        self.profiles: dict[ProfileKey, ProfileComparison] = {}
        self.missing: dict[ProfileKey, int] = {}
        """Profiles that have rows but no registers, with how many of the rows count."""
        for key, mine in registers.items():
            self._slugs.setdefault(key.user_id, []).append(key.group_slug)
            self.profiles[key] = ProfileComparison(_sums(mine))

    def compare(self, rows: list[CommentRow], analyses: Mapping[int, AnalysisRow], groups: Groups) -> list[Event]:
        """Give the events that this page of rows asks for."""
        found = self._of_new_users([row for row in rows if row.user_id not in self._slugs], analyses, groups)
        known = [row for row in rows if row.user_id in self._slugs]
        for row, slugs, half, tags in register_halves(known, analyses, groups, self._on_invalid_row):
            for slug in slugs:
                one = _Content(ProfileKey(row.user_id, slug), row, half, tags)
                if (stale := self._stale_halves(one)) != _IN_STEP:
                    found += self._repair_events(one, stale, analyses.get(row.comment_id), groups)
        for row in known:
            found += self._moved_away(row, groups)
        return found

    def without_row(self, limit: int) -> Iterator[list[Event]]:
        """After the last page: the registers for which no row was found, as pages of events that remove them."""
        left = (event for key, mine in self._registers.items() for event in self._removed(key, mine))
        while page := list(islice(left, limit)):
            yield page

    def pending_deletions(self) -> PendingDeletions:
        """Count what all of this would remove."""
        pending = PendingDeletions()
        for one in self.profiles.values():
            pending.add_profile(
                one.stored.comments, one.rows.comments, one.deleted, tagged=one.tagged, untagged=one.untagged
            )
        return pending

    def removals(self) -> int:
        """Count the comments that would count no more until now, and those that would lose all their tags."""
        return sum(sum(one.deleted.values()) + one.untagged for one in self.profiles.values())

    def _of_new_users(self, rows: list[CommentRow], analyses: Mapping[int, AnalysisRow], groups: Groups) -> list[Event]:
        found = list(events(rows, analyses, groups, self._time, self._on_invalid_row))
        for event in found:
            if isinstance(event, CommentCreated):
                self._miss(ProfileKey(event.user_id, event.group_slug), counts=event.deleted_at is None)
        return found

    def _miss(self, key: ProfileKey, *, counts: bool) -> None:
        self.missing[key] = self.missing.get(key, 0) + counts

    def _stale_halves(self, new: _Content) -> StaleHalves:
        """Compare a row with its register, and count what differs."""
        if new.key not in self._registers:
            self._miss(new.key, counts=new.half.state == LIVE)
            return _NO_REGISTER
        packed = self._registers[new.key].pop(new.row.comment_id, None)
        old = EMPTY_REGISTER if packed is None else unpack(packed)
        stale = StaleHalves(
            old.comment_revision if old.comment != new.half else None,
            old.insight_revision if old.labels != new.tags else None,
        )
        self._count(self.profiles[new.key], new, old, stale)
        return stale

    def _count(self, profile: ProfileComparison, new: _Content, old: Register, stale: StaleHalves) -> None:
        register = Register(self._time, new.half, self._time, new.tags)
        before, after = counts(old), counts(register)
        profile.rows.rows += 1
        profile.rows.digest = (profile.rows.digest + fingerprint(new.row.comment_id, register)) % _MODULUS
        profile.rows.comments += after
        profile.differ(2 - stale.count(None), visible=before or after)
        if before and not after:
            profile.delete(None)
        if before and after and old.labels:
            profile.tagged += 1
            profile.untagged += not new.tags

    def _repair_events(
        self, new: _Content, stale: StaleHalves, analysis: AnalysisRow | None, groups: Groups
    ) -> Iterator[Event]:
        """Say these halves again, each under a higher revision."""
        known = {} if analysis is None else {new.row.comment_id: analysis}
        for event in events([new.row], known, groups, self._time):
            before = stale.comment if isinstance(event, CommentCreated) else stale.insight
            if before is not None and event.group_slug == new.key.group_slug:
                yield _revised(event, before)
        if analysis is None and stale.insight is not None and new.key in self._registers:  # it was deleted
            yield _revised(insight(new.row, new.key.group_slug, None, self._time), stale.insight)

    def _moved_away(self, row: CommentRow, groups: Groups) -> Iterator[Event]:
        """Find the stored profiles of the row's own user in which it no longer counts."""
        for slug in self._slugs[row.user_id]:
            key = ProfileKey(row.user_id, slug)
            mine = self._registers[key]
            if row.comment_id in mine and slug not in groups.slugs(row.user_id, row.help_request_id):
                old = unpack(mine.pop(row.comment_id))
                yield from self._removal(key, row.comment_id, old, _cause(key, old, row, groups))

    def _removed(self, key: ProfileKey, mine: dict[int, bytes]) -> Iterator[Event]:
        for comment_id in sorted(mine):
            yield from self._removal(key, comment_id, unpack(mine.pop(comment_id)), None)

    def _removal(self, key: ProfileKey, comment_id: int, old: Register, cause: Cause | None) -> Iterator[Event]:
        if old.comment is None or not has_row(old):
            return
        profile = self.profiles[key]
        profile.differ(1, visible=counts(old))
        if counts(old):
            profile.delete(cause)
        yield _revised(gone(comment_id, *key, old.comment.help_request_id, self._time), old.comment_revision)


def _sums(registers: Mapping[int, bytes]) -> RegisterSums:
    sums = RegisterSums()
    for comment_id, packed in registers.items():
        register = unpack(packed)
        sums.digest += fingerprint(comment_id, register)
        sums.revisions += register.comment_revision + register.insight_revision
        sums.comments += counts(register)
    sums.digest %= _MODULUS
    return sums


def _cause(key: ProfileKey, old: Register, row: CommentRow, groups: Groups) -> Cause | None:
    """Say why a row that is there left a profile; a comment that was moved by itself has no cause that excuses it."""
    cause = cause_of(key, row.help_request_id, groups)
    moved = old.comment is None or old.comment.help_request_id != row.help_request_id
    return None if moved and cause is not None and cause.kind == "request" else cause


def _revised(event: Event, before: int) -> Event:
    if event.revision > before:
        return event
    return msgspec.structs.replace(event, revision=before + 1)

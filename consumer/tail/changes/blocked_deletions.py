"""The deletion guard of the tail: who asked, what is blocked, and how the log says it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import structlog

from consumer.tail.rows.contribution import NO_CONTRIBUTION, contributions, counts, has_tags
from consumer.tail.rows.event_builder import EventBuilder
from consumer.tail.rows.fingerprints import RowFingerprints, ids_of
from projections.comments.groups import Groups
from projections.comments.rows import CommentRow
from projections.profile_key import ProfileKey
from snapshot.deletion_guard import CONFIRM, Cause, PendingDeletions, Totals, blocked_message, reason_to_block

log = structlog.get_logger()

_SECONDS = 60.0


class DeletionGuard:
    """Asks the rule that a rebuild asks; what it blocks, the log says once a minute.

    `where` names who asked (sweep, groups, store): the last answer to each is in force. `passed` is what polls let go,
    and what a sweep's round found where it saw a commit in part: each poll and round judges it with what it found
    itself, until a round that was judged with it is let go.
    """

    def __init__(self, *, prune_all: bool, now: Callable[[], float]) -> None:
        self._prune_all = prune_all
        self._now = now
        self._blocked: dict[str, str] = {}
        self._logged_at: dict[str, float] = {}
        self.passed: list[Deletions] = []

    @property
    def blocked(self) -> Mapping[str, str]:
        """What is blocked, by who asked."""
        return dict(self._blocked)

    @property
    def is_blocked(self) -> bool:
        """Whether anything is blocked."""
        return bool(self._blocked)

    def blocks(self, where: str, pending: PendingDeletions, totals: Totals, *, beside: str = "") -> bool:
        """Whether to block all of this, unless it is confirmed; also while it is blocked `beside`: both see parts."""
        reason = reason_to_block(pending, totals)
        if reason is None or self._prune_all:
            self._blocked.pop(where, None)
            return beside in self._blocked and pending.remove_anything()
        self._blocked[where] = reason
        self.remind()
        return True

    def lets_pass(self, deletions: "Deletions", fingerprints: RowFingerprints, groups: Groups) -> bool:
        """Whether these may go before a sweep has asked for all there is; where they may not, nothing is said of it."""
        measured = deletions.measured(fingerprints, groups, self.passed)
        if not self._prune_all and (self._blocked or reason_to_block(*measured)):
            return False
        self.passed.append(deletions)
        return True

    def remind(self) -> None:
        """Log what is blocked, once a minute."""
        for where, reason in self._blocked.items():
            if self._now() - self._logged_at.get(where, -_SECONDS) >= _SECONDS:
                self._logged_at[where] = self._now()
                log.error(blocked_message(reason, CONFIRM), where=where)


class Counts(NamedTuple):
    """How many comments count in each profile, and how many of these have tags."""

    comments: Counter[ProfileKey]
    tagged: Counter[ProfileKey]


class Deletions:
    """What a round, a change of groups or a look at the store would take out of profiles; `others` are part of it.

    For each profile: comments that are `deleted`, by cause, and how many of these are `tagged`; those that are `added`;
    those that stay and are `untagged`.
    """

    def __init__(self, *others: "Deletions") -> None:
        self.deleted: dict[ProfileKey, Counter[Cause | None]] = defaultdict(Counter)
        self.tagged = Counter[ProfileKey]()
        self.added = Counter[ProfileKey]()
        self.untagged = Counter[ProfileKey]()
        for other in others:
            self.tagged.update(other.tagged)
            self.added.update(other.added)
            self.untagged.update(other.untagged)
            for key, causes in other.deleted.items():
                self.deleted[key].update(causes)

    def __bool__(self) -> bool:
        """Whether a comment leaves a profile, or loses its tags."""
        return any(causes.total() for causes in self.deleted.values()) or self.untagged.total() > 0

    def delete(self, key: ProfileKey, cause: Cause | None = None, *, tagged: bool) -> None:
        """A comment that counts in this profile is to leave it; `tagged`: it has tags."""
        self.deleted[key][cause] += 1
        self.tagged[key] += tagged

    def add(self, key: ProfileKey) -> None:
        """One that counts comes into it."""
        self.added[key] += 1

    def untag(self, key: ProfileKey) -> None:
        """One that stays is to lose all its tags."""
        self.untagged[key] += 1

    def are_blocked(self, guard: DeletionGuard, where: str, fingerprints: RowFingerprints, groups: Groups) -> bool:
        """Ask the guard; what was published by these groups is what there is before."""
        return guard.blocks(where, *self.measured(fingerprints, groups))

    def measured(
        self, fingerprints: RowFingerprints, groups: Groups, passed: Sequence["Deletions"] = ()
    ) -> tuple[PendingDeletions, Totals]:
        """Give it as the guard takes it, together with those that `passed`, and what was published before all of it."""
        together = Deletions(self, *passed)
        totals, before = Totals(), Counts(Counter(), Counter())
        if together.pending(before).worth_asking():
            before = published(fingerprints, groups)
            for one in passed:
                one.undo(before)
            for key, comments in before.comments.items():
                totals.add_profile(comments, before.tagged[key] - together.tagged[key])
        return together.pending(before), totals

    def undo(self, counts: Counts) -> None:
        """Count as before these."""
        for key, causes in self.deleted.items():
            counts.comments[key] += causes.total()
        counts.comments.subtract(self.added)
        counts.tagged.update(self.tagged + self.untagged)

    def pending(self, before: Counts) -> PendingDeletions:
        """Give it as the guard takes it."""
        pending = PendingDeletions()
        for key in self.deleted.keys() | self.untagged.keys():
            deleted, tagged = self.deleted[key], before.tagged[key] - self.tagged[key]
            after = max(0, before.comments[key] - deleted.total() + self.added[key])
            pending.add_profile(before.comments[key], after, deleted, tagged=tagged, untagged=self.untagged[key])
        return pending


def without_mass_deletion(builder: EventBuilder, guard: DeletionGuard, rows: list[CommentRow]) -> list[CommentRow]:
    """Leave out those of these rows that take comments out of profiles, if it is too much: they wait for the sweep."""
    known = builder.fingerprints.entries(ids_of(rows))
    present = contributions([row for row in rows if row.comment_id in known], {}, builder.groups)
    deletions, ending = Deletions(), set[int]()
    for row in rows:
        old, new = known.get(row.comment_id), present.get(row.comment_id, NO_CONTRIBUTION)
        for key in () if old is None else builder.ended(row, old, new):
            deletions.delete(key, tagged=old is not None and has_tags(old.contribution))
            ending.add(row.comment_id)
        for key in builder.profiles(row) if row.comment_id in ending and counts(new) else ():
            deletions.add(key)
    if not ending or guard.lets_pass(deletions, builder.fingerprints, builder.groups):
        return rows
    return [row for row in rows if row.comment_id not in ending]


def published(fingerprints: RowFingerprints, groups: Groups) -> Counts:
    """Count what the tail has published."""
    comments, tagged = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    for part in fingerprints.columns():
        for user, request, contribution in zip(part.users, part.requests, part.contributions, strict=True):
            comments[user, request] += counts(contribution)
            tagged[user, request] += has_tags(contribution)
    found = Counts(Counter(), Counter())
    for (user, request), number in comments.items():
        for slug in groups.slugs(user, request):
            found.comments[ProfileKey(user, slug)] += number
            found.tagged[ProfileKey(user, slug)] += tagged[user, request]
    return found

"""The deletion guard: removing so much at once looks like a half-restored database, and needs a confirmation. Pure.

One rule and one set of denominators for everybody who removes: the rebuild, the tail's start, its polls of memberships
and titles, its sweep, the recovery of lost buckets, and `wb`. Counted are
- the profiles that are shown;
- the comments that count, once for each profile in which they do;
- the tagged ones of those that go on counting: how many would lose all their tags.
More than a tenth of any, and at least 20, is too much, and so are all the tags there are. What follows from a single
membership that ended, or from a single request that was renamed, was meant, however much it is; and so was all that
follows from forgetting a person.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from projections.comments.groups import Groups
from projections.profile_key import ProfileKey

LEAST = 20
SHARE = 10
"""One in so many."""
CONFIRM = "snapshot-rebuild --all --prune-all, or by starting this program once with --prune-all"
"""How to confirm what a program blocks that runs all the time."""
_LEAST_TAGGED = 5
"""Fewer comments than this may lose all tags there are."""


class Cause(NamedTuple):
    """One act that takes comments out of profiles though their rows are there: of what or whom, the `subject` says."""

    kind: Literal["membership", "request", "block"]
    subject: ProfileKey | int


def cause_of(key: ProfileKey, request_id: int, groups: Groups) -> Cause | None:
    """Say why a comment on this request counts in this profile no longer; None where both are the group's still."""
    name = groups.members.get(key.user_id, {}).get(key.group_slug)
    if key.user_id in groups.blocked:
        return Cause("block", key.user_id)
    if name is None:
        return Cause("membership", key)
    return None if request_id in groups.requests.get(name, ()) else Cause("request", request_id)


class PendingDeletions(msgspec.Struct):
    """What some changes would remove; those of several parts of the profiles add up.

    `causes` gives [profiles, comments] for each cause, None for what no membership and no request explains. Of the
    comments that stay, `tagged` have tags, and `untagged` of these would lose them all.
    """

    causes: dict[Cause | None, list[int]] = {}
    tagged: int = 0
    untagged: int = 0

    def add_profile(
        self, before: int, after: int, deleted: Mapping[Cause | None, int], *, tagged: int = 0, untagged: int = 0
    ) -> None:
        """Add one profile, in which so many comments count `before` and `after`, and those that go, by cause."""
        self.tagged += tagged
        self.untagged += untagged
        for cause, comments in deleted.items():
            self._add(cause, 0, comments)
        if before and not after:
            self._add(next(iter(deleted)) if len(deleted) == 1 else None, 1, 0)

    def merge(self, other: "PendingDeletions") -> None:
        """Add those of other profiles."""
        self.tagged += other.tagged
        self.untagged += other.untagged
        for cause, (profiles, comments) in other.causes.items():
            self._add(cause, profiles, comments)

    def without_cause(self) -> tuple[int, int]:
        """Count the profiles and comments that go, but for those of a block, a single membership, a single request."""
        kinds = [cause.kind for cause in self.causes if cause is not None]
        several = {kind for kind in kinds if kinds.count(kind) > 1 and kind != "block"}
        left = [counts for cause, counts in self.causes.items() if cause is None or cause.kind in several]
        return sum(profiles for profiles, _ in left), sum(comments for _, comments in left)

    def comments(self) -> int:
        """Count all comments that go, whatever the cause."""
        return sum(comments for _, comments in self.causes.values())

    def remove_anything(self) -> bool:
        """Whether a comment goes, or loses its tags."""
        return self.comments() > 0 or self.untagged > 0

    def worth_asking(self) -> bool:
        """Whether so much goes that the totals matter."""
        return max(*self.without_cause(), self.untagged) >= _LEAST_TAGGED

    def _add(self, cause: Cause | None, profiles: int, comments: int) -> None:
        counts = self.causes.setdefault(cause, [0, 0])
        counts[0] += profiles
        counts[1] += comments


class Totals(msgspec.Struct):
    """What there is before: profiles that are shown, comments that count, and tagged ones of those that stay."""

    profiles: int = 0
    comments: int = 0
    tagged: int = 0

    def add_profile(self, comments: int, tagged: int) -> None:
        """Add one profile; without a comment it is none."""
        self.profiles += comments > 0
        self.comments += comments
        self.tagged += tagged

    def merge(self, other: "Totals") -> None:
        """Add those of other profiles."""
        self.profiles += other.profiles
        self.comments += other.comments
        self.tagged += other.tagged


def reason_to_block(pending: PendingDeletions, totals: Totals, tagged: str = "comments") -> str | None:
    """Say what would be removed where that is too much, else None. `tagged`: what tags were counted by."""
    profiles, comments = pending.without_cause()
    found = [
        f"{removed:,} of {total:,} {what}"
        for removed, total, what in (
            (profiles, totals.profiles, "profiles"),
            (comments, totals.comments, "comments"),
            (pending.untagged, totals.tagged, f"tagged {tagged}' tags"),
        )
        if too_many(removed, total)
    ]
    if not found and pending.untagged >= max(_LEAST_TAGGED, totals.tagged):
        found = [f"all tags, those of {pending.untagged:,} {tagged}"]
    return " and ".join(filter(None, [", ".join(found[:-1]), *found[-1:]])) or None


def too_many(removed: int, total: int) -> bool:
    """Whether that is more than people remove by hand.

    >>> too_many(19, 19), too_many(20, 200), too_many(21, 200)
    (False, False, True)
    """
    return removed >= LEAST and removed * SHARE > total


def blocked_message(reason: str, confirm: str) -> str:
    """What an operator reads of it; `confirm` is the flag, or the command, that lets it pass."""
    return (
        f"blocked by the deletion guard: this would remove {reason}, as if only part of the database had been restored;"
        " restore the rest (or correct DATABASE_URL and INSIGHTS_DATABASE_URL), or confirm with "
        f"{confirm}"
    )

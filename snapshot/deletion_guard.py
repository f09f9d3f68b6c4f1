"""The brake: what would end so much at once looks like a half-restored database, and asks for a confirmation. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from projections.profile_key import ProfileKey

LEAST = 20
SHARE = 10
"""One in so many."""
_LABELLED = 5
"""Fewer comments than this may lose all labels there are."""


class Cause(NamedTuple):
    """One fact that ends comments whose rows are still there: a membership that ended, or a request renamed."""

    kind: str
    request_id: int
    key: ProfileKey | None


class PendingDeletions(msgspec.Struct):
    """What applying the differences would end: [profiles, comments] by cause, and comments that lose all `labels`."""

    causes: dict[Cause | None, list[int]] = {}
    labels: int = 0
    labelled: int = 0

    def merge(self, other: "PendingDeletions") -> None:
        """Add another part's."""
        self.labels += other.labels
        self.labelled += other.labelled
        for cause, (profiles, comments) in other.causes.items():
            self.count(cause, profiles, comments)

    def count(self, cause: Cause | None, profiles: int, comments: int) -> None:
        """Add profiles and comments that end for this cause."""
        counts = self.causes.setdefault(cause, [0, 0])
        counts[0] += profiles
        counts[1] += comments

    def without_cause(self) -> tuple[int, int]:
        """Give the profiles and comments that end, but for those that one membership or one request explains."""
        left = [counts for cause, counts in self.causes.items() if cause is None]
        for kind in ("membership", "request"):
            mine = [counts for cause, counts in self.causes.items() if cause is not None and cause.kind == kind]
            left += mine if len(mine) > 1 else []
        return sum(profiles for profiles, _ in left), sum(comments for _, comments in left)

    def worth_asking(self) -> bool:
        """Whether so much ends that the totals matter."""
        return max(*self.without_cause(), self.labels) >= min(LEAST, _LABELLED)


class Totals(msgspec.Struct, frozen=True):
    """What there is: profiles shown, comments counted, and comments with labels."""

    profiles: int
    comments: int
    labelled: int


def blocked(endings: PendingDeletions, totals: Totals, tagged: str = "comments") -> str | None:
    """Say what would end where that is too much: over a tenth and at least 20 of a kind, or all labels.

    `tagged`: what the labels were counted by.
    """
    profiles, comments = endings.without_cause()
    found = [
        f"{ended:,} of {total:,} {what}"
        for ended, total, what in (
            (profiles, totals.profiles, "profiles"),
            (comments, totals.comments, "comments"),
            (endings.labels, totals.labelled, f"tagged {tagged}' tags"),
        )
        if too_many(ended, total)
    ]
    if not found and endings.labels >= _LABELLED and endings.labels >= totals.labelled:
        found = [f"all tags, those of {endings.labels:,} {tagged}"]
    return _listed(found) if found else None


def too_many(ended: int, total: int) -> bool:
    """Whether that is more than people end by hand.

    >>> too_many(19, 19), too_many(20, 200), too_many(21, 200)
    (False, False, True)
    """
    return ended >= LEAST and ended * SHARE > total


def _listed(parts: Iterable[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last

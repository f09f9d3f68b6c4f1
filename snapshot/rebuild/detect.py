"""The first pass of a rebuild: who differs? It saves nothing, and the brake decides by what it saw.

1 Some users are compared in detail at once. Of everybody, the quick look tells who differs; it is left out where the
store has less than half of them (whom it lacks differs anyway), and with `deep`, which compares everybody in detail.
2 Those that the store has and that differ are compared in detail, to know what a repair would end.
"""

from functools import cached_property
from typing import NamedTuple

import msgspec

from projections.paging import pages
from projections.profile_key import HIGHEST_ID, ProfileKey
from snapshot.deletion_guard import LEAST, PendingDeletions, Totals, reason_to_block
from snapshot.processes.spawn import Pool
from snapshot.rebuild import tasks
from snapshot.rebuild.report import leave_out
from snapshot.rebuild.tasks import RebuildContext
from snapshot.reconcile.digests import StoredDigests, differing, subtract
from snapshot.reconcile.drift import Look
from snapshot.reconcile.reconcile import cut, user_ranges
from snapshot.runtime.progress import ProgressBar

_IDS_A_PIECE = 50_000
_HEADS_A_PIECE = 1_000
_COUNTLESS = 2**62
_LOOKS_AT_MOST = 200_000
"""Some 100 MB. Of what differs beyond, it takes the tail longer to tell drift from lag, or it stays undecided."""


class DetectionResult(msgspec.Struct):
    """What the first pass found. `members` counts the users that were asked for.

    `users` have to be compared again and repaired; None: everybody. `stored` counts the profiles that the store shows.
    `looks` holds, while somebody tails the database, how the first of those that differ were seen; `empty` the
    profiles without a row, `files` those of everybody whose files are not what their heads give; `blocked` what the
    brake says.
    """

    users: frozenset[int] | None
    members: int = 0
    stored: int = 0
    looks: dict[ProfileKey, Look] = {}
    empty: set[ProfileKey] = set()
    files: list[ProfileKey] = []
    blocked: str | None = None
    comments: int = 0
    unreadable: dict[int, str] = {}

    def suspects(self, user_id: int) -> bool:
        """Whether this user has to be compared again."""
        return self.users is None or user_id in self.users


class _Suspects(NamedTuple):
    """Whom to compare, and whom of them to look at first."""

    users: frozenset[int] | None
    looked_at: frozenset[int] | None


class Detection:
    """Makes the first pass over `users`, None for everybody."""

    def __init__(
        self, work: RebuildContext, pool: Pool[RebuildContext], users: frozenset[int] | None, meter: ProgressBar
    ) -> None:
        self._work = work
        self._pool = pool
        self._users = users
        self._meter = meter
        self._labelled = 0
        self._seen: set[int] = set()

    @cached_property
    def ranges(self) -> list[tuple[int, int]]:
        """The ranges that users are compared in; not asked for where nobody differs."""
        return user_ranges(self._work.database, 0, HIGHEST_ID) if self._users is None else [(0, HIGHEST_ID)]

    def detect(self) -> DetectionResult:
        """Look at everything that may differ."""
        found = DetectionResult(self._users, len(self._users or ()))
        suspects, digests = _Suspects(self._users, self._users), None
        if self._users is None:
            digests = self._digests(found)
            found.stored = digests.shown
            suspects = self._suspects(digests, found)
        endings = self._look(suspects.looked_at, found)
        found.users = self._confirmed(suspects)
        if endings.worth_asking():
            found.blocked = reason_to_block(endings, self._totals(digests or self._digests(found), endings))
        return found

    def _confirmed(self, suspects: _Suspects) -> frozenset[int] | None:
        """Leave out those in whom the look in detail found nothing."""
        if suspects.users is None:
            return frozenset(self._seen) if suspects.looked_at is None else None
        return (suspects.users - (suspects.looked_at or frozenset())) | self._seen

    def _digests(self, found: DetectionResult) -> StoredDigests:
        """Read all heads, and look at their files on the way."""
        work, digests = self._work, StoredDigests()
        keys = [key for key in work.store.profiles(0, HIGHEST_ID) if work.scope.covers(key)]
        parts = list(pages(keys, _HEADS_A_PIECE))
        self._meter.phase("reading heads", len(parts))
        for one in self._pool.map(tasks.heads, parts):
            digests.merge(one.digests)
            found.files += one.files
            self._meter.advance()
        return digests

    def _suspects(self, stored: StoredDigests, found: DetectionResult) -> _Suspects:
        users = frozenset(user for mine in stored.digests.values() for user in mine)
        members = self._work.scope.groups(self._work.database.groups()).members
        found.members = len(members)
        if 2 * len(users) <= len(members):
            return _Suspects(None, users if stored.comments >= LEAST else frozenset())
        if self._work.scope.deep:
            return _Suspects(None, None)
        differ = self._quick(stored, found)
        return _Suspects(differ, differ & users)

    def _quick(self, stored: StoredDigests, found: DetectionResult) -> frozenset[int]:
        """Sum all rows up by ascending id."""
        blank = {(slug, user) for slug, mine in stored.digests.items() for user, digest in mine.items() if not digest}
        highest = self._work.database.heads().comment_id
        look = self._work.store.clock()
        ids = [tasks.IdRange(low, low + _IDS_A_PIECE - 1, look) for low in range(0, highest + 1, _IDS_A_PIECE)]
        self._meter.phase("comparing digests", len(ids))
        for one in self._pool.map(tasks.sums, ids):
            subtract(stored.digests, one)
            found.comments += one.comments
            leave_out(found.unreadable, one.unreadable)
            self._labelled += one.labelled
            self._meter.advance()
        found.empty = {ProfileKey(user, slug) for slug, user in blank if not stored.digests[slug][user]}
        return frozenset(differing(stored.digests))

    def _look(self, users: frozenset[int] | None, found: DetectionResult) -> PendingDeletions:
        """Compare these in detail, None for everybody."""
        endings = PendingDeletions()
        parts = [] if users == frozenset() else list(cut(self.ranges, users))
        self._meter.phase("comparing registers", len(parts))
        for outcome in self._pool.map(tasks.look, parts):
            endings.merge(outcome.deletions)
            found.comments += outcome.comments
            leave_out(found.unreadable, outcome.unreadable)
            found.empty.update(outcome.empty)
            self._seen.update(one.key.user_id for one in outcome.findings)
            if outcome.before is not None:
                seen = [(one.key, Look(one.time, one.digests)) for one in outcome.findings]
                found.looks.update(seen[: max(0, _LOOKS_AT_MOST - len(found.looks))])
            if self._users is not None:
                found.stored += outcome.stored
            self._meter.advance()
        return endings

    def _totals(self, stored: StoredDigests, endings: PendingDeletions) -> Totals:
        """Of some users only, it isn't known how many comments have labels; then the brake leaves these out."""
        labelled = max(self._labelled + endings.untagged, endings.tagged)
        return Totals(stored.shown, stored.comments, labelled if self._users is None else _COUNTLESS)

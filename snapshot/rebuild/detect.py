"""The first pass: who differs, and what would a repair remove? It saves nothing, and asks the deletion guard.

1 Some users are compared in detail at once. Of all, the quick check tells who differs; it is left out where the store
has less than half of them (those that it lacks differ anyway), and with `deep`, which compares all in detail.
2 Those that the store has and that differ are compared in detail, to know what a repair would remove.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import msgspec

from projections.database.database import Database
from projections.paging import pages
from projections.profile_key import HIGHEST_ID, ProfileKey
from snapshot.deletion_guard import LEAST, PendingDeletions, Totals, reason_to_block
from snapshot.processes.spawn import Inline, Pool
from snapshot.rebuild import tasks
from snapshot.rebuild.report import add_invalid_rows
from snapshot.rebuild.tasks import IdRange, PartResult, RebuildContext
from snapshot.reconcile.digests import StoredDigests, Sums, differing, subtract
from snapshot.reconcile.drift import Sighting
from snapshot.reconcile.reconcile import FEW, Scope, cut, user_ranges
from snapshot.runtime.progress import ProgressBar

_IDS_A_TASK = 50_000
_RANGES_A_WIDTH = 1_000
"""After so many ranges, each is twice as wide: where ids lie far apart, that bounds their number."""
_HEADS_A_TASK = 1_000
_MAX_SIGHTINGS = 200_000
"""Some 100 MB. Of what differs beyond, it takes the tail longer to tell drift from lag, or it stays undecided."""


def id_ranges(database: Database, pass_id: int) -> Iterator[IdRange]:
    """Cut all comments by their ids, from each one that is there: ids may lie as far apart as they like."""
    after, ranges = 0, 0
    while rows := database.comments_after(after, 1):
        low = rows[0].comment_id
        after = low + (_IDS_A_TASK << ranges // _RANGES_A_WIDTH) - 1
        ranges += 1
        yield IdRange(low, after, pass_id)
        if after >= HIGHEST_ID:
            return


class DetectionResult(msgspec.Struct):
    """What the first pass found. `members` counts the users that were asked for.

    `users` have to be compared again and repaired; None: all. `stored` counts the profiles that the store shows.
    `sightings` holds, while a tail is running, the first of those that differ; `empty` the profiles without a row,
    `files` (where all users were asked for) those whose files differ from their heads; `blocked` what the deletion
    guard blocks.
    """

    users: frozenset[int] | None
    members: int = 0
    stored: int = 0
    sightings: dict[ProfileKey, Sighting] = {}
    empty: set[ProfileKey] = set()
    files: list[ProfileKey] = []
    blocked: str | None = None
    comments: int = 0
    invalid_rows: dict[int, str] = {}

    def suspects(self, user_id: int) -> bool:
        """Whether this user has to be compared again."""
        return self.users is None or user_id in self.users


class _Suspects(NamedTuple):
    """Whom to compare, and whom of them the store has: their deletions are counted first. None: all."""

    users: frozenset[int] | None
    stored: frozenset[int] | None


class Detection:
    """Makes the first pass over `users`, None for all.

    `keys`: deletions are measured by these profiles alone, not by all that there are. What is about them, or about one
    group, must pass the deletion guard by itself, and also with all the rest that differs.
    """

    def __init__(
        self,
        work: RebuildContext,
        pool: Pool[RebuildContext],
        users: frozenset[int] | None,
        bar: ProgressBar,
        keys: list[ProfileKey] | None = None,
    ) -> None:
        self._work = work
        self._pool = pool
        self._users = users
        self._bar = bar
        self._keys = keys
        self._digests: StoredDigests | None = None
        self._tagged = 0
        """How many of the comments that stay are known to have had tags."""
        self._tags_counted = users is None or keys is not None
        self._differing: set[int] = set()
        self._judged = PendingDeletions()

    @cached_property
    def ranges(self) -> list[tuple[int, int]]:
        """The ranges that users are compared in; not asked for where nobody differs."""
        few = self._users is not None and len(self._users) <= FEW
        return [(0, HIGHEST_ID)] if few else user_ranges(self._work.database, 0, HIGHEST_ID)

    def detect(self) -> DetectionResult:
        """Find what may differ."""
        found = DetectionResult(self._users, len(self._users or ()))
        suspects = _Suspects(self._users, self._users)
        if self._users is None:
            self._digests = self._read_digests(found.files)
            found.stored = self._digests.shown
            suspects = self._suspects(self._digests, found)
        deletions = self._judged = self._compare(suspects.stored, found)
        found.users = self._confirmed(suspects)
        self._tagged += deletions.untagged
        found.blocked = self.reason_to_block(deletions) or self._whole_is_blocked(deletions)
        return found

    def reason_to_block(self, deletions: PendingDeletions) -> str | None:
        """Ask the deletion guard, by what there was; also of what comes up while differences are repaired."""
        self._tagged = max(self._tagged, deletions.tagged)
        return reason_to_block(deletions, self._totals(deletions)) if deletions.worth_asking() else None

    def _whole_is_blocked(self, deletions: PendingDeletions) -> str | None:
        """Ask what all together would remove, where this is about a part only.

        Of each lost bucket a few comments may go, of each group its only title: the rule is about the whole database.
        """
        least = 1 if self._keys is not None else LEAST
        if self._keys is None and self._work.scope.group_slug is None:
            return None
        return None if _size(deletions) < least else self._whole()

    def reason_to_block_now(self, deletions: PendingDeletions) -> str | None:
        """Ask what all that differs by now would remove, where it is more than was judged: something vanished since."""
        return self._whole() if _size(deletions) > _size(self._judged) else None

    def _whole(self) -> str | None:
        work = self._work
        whole = RebuildContext(work.projection, work.database, Scope(), None, work.on_page)
        return Detection(whole, Inline(whole), None, self._bar).detect().blocked

    def _confirmed(self, suspects: _Suspects) -> frozenset[int] | None:
        """Leave out those in whom the comparison in detail found nothing."""
        if suspects.users is None:
            return frozenset(self._differing) if suspects.stored is None else None
        return (suspects.users - (suspects.stored or frozenset())) | self._differing

    def _read_digests(self, files: list[ProfileKey]) -> StoredDigests:
        """Read all heads, and add those whose files differ to `files`."""
        digests = StoredDigests()
        parts = list(pages(self._work.keys() if self._keys is None else self._keys, _HEADS_A_TASK))
        self._bar.phase("reading heads", len(parts))
        for one in self._pool.map(tasks.read_heads, parts):
            digests.merge(one.digests)
            files += one.files
            self._bar.advance()
        return digests

    def _suspects(self, stored: StoredDigests, found: DetectionResult) -> _Suspects:
        users = frozenset(user for mine in stored.digests.values() for user in mine)
        members = self._work.database.groups().only(self._work.scope.group_slug).members
        found.members = len(members)
        if 2 * len(users) <= len(members):
            return _Suspects(None, users if stored.comments >= LEAST else frozenset())
        if self._work.scope.deep:
            return _Suspects(None, None)
        differ = self._check_quickly(stored, found)
        return _Suspects(differ, differ & users)

    def _check_quickly(self, stored: StoredDigests, found: DetectionResult) -> frozenset[int]:
        """Compare the digests with sums over all rows."""
        blank = {(slug, user) for slug, mine in stored.digests.items() for user, digest in mine.items() if not digest}
        for one in self._sums("comparing digests"):
            subtract(stored.digests, one)
            found.comments += one.comments
            add_invalid_rows(found.invalid_rows, one.invalid_rows)
            self._tagged += one.tagged
        found.empty = {ProfileKey(user, slug) for slug, user in blank if not stored.digests[slug][user]}
        return frozenset(differing(stored.digests))

    def _sums(self, phase: str) -> Iterator[Sums]:
        """Sum all rows up by ascending id."""
        ids = list(id_ranges(self._work.database, self._work.store.clock()))
        self._bar.phase(phase, len(ids))
        for one in self._pool.map(tasks.sum_ids, ids):
            yield one
            self._bar.advance()

    def _compare(self, users: frozenset[int] | None, found: DetectionResult) -> PendingDeletions:
        """Compare these in detail, None for all."""
        deletions = PendingDeletions()
        parts = [] if users == frozenset() else list(cut(self.ranges, users))
        self._bar.phase("comparing registers", len(parts))
        for result in self._pool.map(tasks.compare, parts):
            deletions.merge(result.deletions)
            self._add(result, found)
            self._bar.advance()
        return deletions

    def _add(self, result: PartResult, found: DetectionResult) -> None:
        found.comments += result.comments
        add_invalid_rows(found.invalid_rows, result.invalid_rows)
        found.empty.update(result.empty)
        self._differing.update(one.key.user_id for one in result.findings)
        if result.before is not None:
            seen = [(one.key, Sighting(one.time, one.digests)) for one in result.findings]
            found.sightings.update(seen[: max(0, _MAX_SIGHTINGS - len(found.sightings))])
        if self._users is not None:
            found.stored += result.stored

    def _totals(self, deletions: PendingDeletions) -> Totals:
        if self._digests is None:
            self._digests = self._read_digests([])
        if deletions.untagged and not self._tags_counted:
            self._tags_counted = True
            self._tagged = max(
                self._tagged, sum(one.tagged for one in self._sums("counting tags")) + deletions.untagged
            )
        return Totals(self._digests.shown, self._digests.comments, self._tagged)


def _size(deletions: PendingDeletions) -> int:
    """How many comments go, or lose their tags."""
    return deletions.comments() + deletions.untagged

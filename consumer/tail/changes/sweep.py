"""The sweep: all rows are read again in the order of their ids and compared with what the tail remembers of them.

It finds what no key tells: deletions and their undoing, edits, moves, analyses that were replaced or vanished. What
disappeared altogether is put off to the end of a round, looked for once more, and then ends only if the brake lets it.
So is a row that can no longer be understood: where all of them can't, a migration changed what we don't know of.
"""

from array import array
from collections.abc import Callable, Collection, Iterator

from consumer.tail.changes.blocked_deletions import DeletionCount, DeletionGuard
from consumer.tail.rows.event_builder import EventBuilder
from consumer.tail.rows.fingerprints import Fingerprint, counts, fingerprint_of, ids_of
from projections.comments.events import Event
from projections.comments.rows import is_valid
from projections.database.database import Database, analyses_of
from projections.paging import pages
from projections.profile_key import HIGHEST_ID, ProfileKey
from snapshot.deletion_guard import LEAST

_PAGE = 5_000
_ENDS = 1_000
_BEHIND = 1.0
"""Seconds by which a round may be late and still make up for it, by reading faster than its rate."""


class Sweep:
    """Rounds, each from the first comment to the last.

    `seconds` is how long the last one took, `due_at` when, by `now`, the next page is due. `head` tells the highest id
    that polling has read: what is above it and not remembered is left to polling.
    """

    def __init__(  # noqa: PLR0913 - the parts that the tail wires
        self,
        database: Database,
        builder: EventBuilder,
        guard: DeletionGuard,
        *,
        head: Callable[[], int],
        rows_per_second: int,
        now: Callable[[], float],
    ) -> None:
        self._database = database
        self._builder = builder
        self._guard = guard
        self._head = head
        self._rate = rows_per_second
        self._now = now
        self._pages: Iterator[list[Event]] | None = None
        self._missing: array[int] = array("q")
        self._vanished: array[int] = array("q")
        self._after = HIGHEST_ID
        self.running = False
        self._began_at = 0.0
        self.due_at = 0.0
        self.seconds = 0.0

    def begin(self) -> None:
        """Begin a round."""
        self.running = True
        self._began_at = self.due_at = self._now()
        self._after = -1
        self._missing, self._vanished = array("q"), array("q")

    def turn(self) -> list[Event] | None:
        """Do the next page of the round; None when it has ended."""
        if self._after < HIGHEST_ID:
            return self._page()
        if self._pages is None:
            self._pages = self._end()
        try:
            found = next(self._pages, None)
        except BaseException:
            self._pages = None  # what was published already is forgotten in memory, so this begins with the rest
            raise
        if found is None:
            self._pages, self.running = None, False
            self.seconds = self._now() - self._began_at
        return found

    def _page(self) -> list[Event]:
        began = self._now()
        rows = self._database.comments_after(self._after, _PAGE)
        high = rows[-1].comment_id if len(rows) == _PAGE else HIGHEST_ID
        analyses = analyses_of(self._database, rows) if rows else {}
        memory = self._builder.memory
        entries = {row.comment_id: fingerprint_of(row, analyses.get(row.comment_id)) for row in rows}
        changed, missing = memory.compare(self._after, high, entries)
        known = memory.get(changed)
        head = self._head()
        wanted = {key for key in changed if key in known or key <= head}
        analysis_deleted = [
            key for key in changed if key in known and known[key].analysis and not entries[key].analysis
        ]
        # Only the analysis is gone: nothing to say before the end of the round.
        wanted.difference_update(key for key in analysis_deleted if entries[key][:3] == known[key][:3])
        shown = wanted & known.keys()
        garbled = [row.comment_id for row in rows if row.comment_id in shown and not is_valid(row)]
        wanted.difference_update(garbled)
        found = self._builder.build([row for row in rows if row.comment_id in wanted], analyses)
        self._missing.extend([*missing, *garbled])
        self._vanished.extend(analysis_deleted)
        self._after = high
        self.due_at = max(self.due_at, began - _BEHIND) + len(rows) / self._rate
        return found

    # ------------------------------------------------------------------------------------------- the round's end

    def _end(self) -> Iterator[list[Event]]:
        memory = self._builder.memory
        counts = ended(self._builder, self._missing, self._vanished) if self._missing or self._vanished else []
        if self._guard.blocks("sweep", *counts):
            return
        for ids in pages(self._missing, _ENDS):
            rows = self._database.comments_by_ids(ids)
            there = set(ids_of(rows))
            yield self._builder.build(rows)  # each by itself: either may fail, and what was published is remembered
            yield self._builder.removed_events([one for one in ids if one not in there])
        for ids in pages(self._vanished, _ENDS):
            rows = self._database.comments_by_ids(list(memory.get(ids)))
            yield self._builder.build(rows, analysis_deleted=True)


def ended(builder: EventBuilder, missing: Collection[int], analysis_deleted: Collection[int]) -> list[DeletionCount]:
    """Count what would end: comments, the profiles that would have none left, and analyses."""
    comments, analyses = counts(builder.memory)
    found = [
        DeletionCount("comments", len(missing), comments),
        DeletionCount("analyses", len(analysis_deleted), analyses),
    ]
    if len(missing) >= LEAST:  # fewer can't end more profiles
        found.append(_profiles(builder, builder.memory.get(missing)))
    return found


def _profiles(builder: EventBuilder, missing: dict[int, Fingerprint]) -> DeletionCount:
    left: dict[tuple[int, int], int] = {}
    for part in builder.memory.columns():
        for place in zip(part.users, part.requests, strict=True):
            left[place] = left.get(place, 0) + 1
    before = _with_comments(builder, left)
    for one in missing.values():
        left[one.user_id, one.help_request_id] -= 1
    return DeletionCount("profiles", len(before - _with_comments(builder, left)), len(before))


def _with_comments(builder: EventBuilder, left: dict[tuple[int, int], int]) -> set[ProfileKey]:
    return {
        ProfileKey(user, slug)
        for (user, request), count in left.items()
        if count
        for slug in builder.groups.slugs(user, request)
    }

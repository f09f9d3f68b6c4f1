"""The sweep: all rows are read again in the order of their ids and compared with what the tail remembers of them.

It finds what no key tells: deletions and their undoing, edits, moves, analyses that were replaced or deleted. What
takes a comment out of a profile, or all tags from it, is put off to the end of a round, read once more, and published
only if the deletion guard lets it: hard deletions, soft ones, moves, rows that became invalid, analyses that are gone.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping

from consumer.tail.changes.blocked_deletions import DeletionGuard, Deletions
from consumer.tail.rows.contribution import NO_CONTRIBUTION, contributions, counts, has_tags
from consumer.tail.rows.event_builder import EventBuilder, NoAnalysis
from consumer.tail.rows.fingerprints import Entry, Fingerprint, fingerprint_of, ids_of
from projections.comments.events import Event
from projections.comments.rows import AnalysisRow, CommentRow
from projections.database.database import Database, analyses_of
from projections.database.protocol import commits_seen
from projections.paging import pages
from projections.profile_key import HIGHEST_ID, ProfileKey

_PAGE = 5_000
_DELETIONS_PAGE = 1_000
_BEHIND = 1.0
"""Seconds by which a round may be late and still make up for it, by reading faster than its rate."""


class Sweep:
    """Rounds, each from the first comment to the last.

    `seconds` is how long the last one took, `due_at` when, by `now`, the next page is due. `held`: what the last one
    was to remove is blocked, or waits for the store's block to end. `head` tells the highest id that polling has read:
    what is above it and not remembered is left to polling.
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
        self._after = HIGHEST_ID
        self.running = self.held = False
        self._began_at = 0.0
        self.due_at = 0.0
        self.seconds = 0.0

    def begin(self) -> None:
        """Begin a round."""
        self._token = self._database.change_token()
        self.running = True
        self._began_at = self.due_at = self._now()
        self._after = 0
        self._ending, self._untagged = array("q"), array("q")
        self._deletions = Deletions()
        self._judged: int | None = None
        """How many of those that had passed were judged with these, which may go."""

    def turn(self) -> list[Event] | None:
        """Do the next page of the round; None when it has ended."""
        if self._after < HIGHEST_ID:
            return self._page()
        if self._pages is None:
            self._pages = self._end()
        try:
            found = next(self._pages, None)
        except BaseException:
            self._pages = None  # what was published already is remembered, so this begins with the rest
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
        found = self._compare(rows, analyses, high)
        self._after = high
        self.due_at = max(self.due_at, began - _BEHIND) + len(rows) / self._rate
        return found

    def _compare(self, rows: list[CommentRow], analyses: Mapping[int, AnalysisRow], high: int) -> list[Event]:
        fingerprints = self._builder.fingerprints
        seen = {row.comment_id: fingerprint_of(row, analyses.get(row.comment_id)) for row in rows}
        changed, missing = fingerprints.compare(self._after, high, seen)
        known, head = fingerprints.entries([*changed, *missing]), self._head()
        ours = {key for key in changed if key in known or key <= head}
        changed_rows = [row for row in rows if row.comment_id in ours]
        present = contributions(changed_rows, analyses, self._builder.groups)
        ready: list[CommentRow] = []
        kept_tags: set[int] = set()
        for row in changed_rows:
            old, new = known.get(row.comment_id), present.get(row.comment_id, NO_CONTRIBUTION)
            if old is not None and self._ends(row, old, new):
                continue
            if old is not None and _loses_analysis(old, seen[row.comment_id], new):
                self._put_off_tags(row.comment_id, old)
                kept_tags.add(row.comment_id)
                if seen[row.comment_id][:3] == old.fingerprint[:3]:
                    continue  # nothing changed but the analysis
            ready.append(row)
        for comment_id in missing:
            self._put_off(comment_id, known[comment_id], self._builder.profiles_of(known[comment_id]))
        return self._builder.build(ready, {key: one for key, one in analyses.items() if key not in kept_tags})

    # ------------------------------------------------------------------------------------------ what is put off

    def _ends(self, row: CommentRow, old: Entry, contribution: int) -> bool:
        ended = self._builder.ended(row, old, contribution)
        if ended:
            self._put_off(row.comment_id, old, ended)
            for key in self._builder.profiles(row) if counts(contribution) else ():
                self._deletions.add(key)
        return bool(ended)

    def _put_off(self, comment_id: int, old: Entry, ended: Iterable[ProfileKey]) -> None:
        self._ending.append(comment_id)
        for key in ended:
            self._deletions.delete(key, tagged=has_tags(old.contribution))

    def _put_off_tags(self, comment_id: int, old: Entry) -> None:
        self._untagged.append(comment_id)
        for key in self._builder.profiles_of(old) if has_tags(old.contribution) else ():
            self._deletions.untag(key)

    def _end(self) -> Iterator[list[Event]]:
        if self._judged is None and not self._may_go():
            return
        for ids in pages(self._ending, _DELETIONS_PAGE):
            rows = self._database.comments_by_ids(ids)
            there = set(ids_of(rows))
            # Each by itself: either may fail, and what was published is remembered.
            yield self._builder.build(rows, no_analysis=NoAnalysis.CONFIRMED)
            yield self._builder.build_removed([one for one in ids if one not in there])
        for ids in pages(self._untagged, _DELETIONS_PAGE):
            rows = self._database.comments_by_ids(list(self._builder.fingerprints.get(ids)))
            yield self._builder.build(rows, no_analysis=NoAnalysis.CONFIRMED)
        self._guard.passed[: self._judged] = [self._deletions] if self._saw_a_part else []

    def _may_go(self) -> bool:
        guard, found, builder = self._guard, self._deletions, self._builder
        # Of what was committed during the round, the next one sees the other part.
        self._saw_a_part = bool(found) and commits_seen(self._token) != commits_seen(self._database.change_token())
        measured = found.measured(builder.fingerprints, builder.groups, list(guard.passed) if found else ())
        self.held = guard.blocks("sweep", *measured, beside="store")
        if not self.held:
            self._judged = len(guard.passed)
        return not self.held


def _loses_analysis(old: Entry, seen: Fingerprint, contribution: int) -> bool:
    gone = bool(old.fingerprint.analysis) and not seen.analysis
    return gone or (has_tags(old.contribution) and not has_tags(contribution))

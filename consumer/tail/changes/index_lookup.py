"""What bears the time of its change, where the database was given an index on it: found by polling, at once.

WhiteBalloon makes no such index. Where there is one, the last few rows by that time are compared with what the tail
remembers, in every interval in which something was committed. No time is compared with any clock.
"""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import structlog

from consumer.tail.changes.blocked_deletions import DeletionGuard, without_mass_deletion
from consumer.tail.changes.poll import build_analysed, changed_analyses
from consumer.tail.rows.event_builder import EventBuilder
from consumer.tail.rows.fingerprints import Fingerprint, fingerprint_of
from projections.comments.events import Event
from projections.comments.rows import AnalysisRow, CommentRow, is_valid
from projections.database.database import Database
from projections.database.protocol import Indexed

log = structlog.get_logger()

T = TypeVar("T")

_LAST = 100
"""So many of the last rows are looked at; where all of them are new, more at once, and the rest is the sweep's: so is
what the deletion guard doesn't let pass."""
_MORE = 5_000
_SECONDS = 60.0


class IndexLookup:
    """Soft deletions and replaced analyses. `now` is in seconds.

    Which indexes there are is asked once a minute, as the database of analyses may appear later.
    """

    def __init__(
        self,
        database: Database,
        builder: EventBuilder,
        guard: DeletionGuard,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._guard = guard
        self._builder = builder
        self._now = now
        self._indexed = Indexed(False, False)  # noqa: FBT003 - a tuple
        self._ask()

    def _ask(self) -> None:
        self._asked_at, before = self._now(), self._indexed
        self._indexed = self._database.indexed()
        if any(self._indexed) and self._indexed != before:
            log.info("changes are found by the index on their time", **self._indexed._asdict())

    def work(self) -> Iterator[list[Event]]:
        """Look at what changed last; give events, page by page."""
        if self._now() - self._asked_at >= _SECONDS:
            self._ask()
        for has_index, look in zip(self._indexed, (self._deleted, self._recorded), strict=True):
            if has_index:
                yield look()

    # Without a fingerprint, it is above the head and polling's, or the start has yet to come to it.

    def _deleted(self) -> list[Event]:
        rows = _latest(self._changed_rows)
        return self._builder.build(without_mass_deletion(self._builder, self._guard, rows))

    def _changed_rows(self, limit: int) -> list[CommentRow]:
        rows = self._database.latest_deleted(limit)
        known = self._builder.fingerprints.get(row.comment_id for row in rows)
        return [row for row in rows if row.comment_id in known and _changed(row, known[row.comment_id])]

    def _recorded(self) -> list[Event]:
        return build_analysed(self._database, self._builder, _latest(self._changed_analyses))

    def _changed_analyses(self, limit: int) -> list[AnalysisRow]:
        latest = self._database.latest_analyses(limit)
        known = self._builder.fingerprints.get(one.comment_id for one in latest)
        return list(changed_analyses(self._builder, [one for one in latest if one.comment_id in known]).values())


def _latest(look: Callable[[int], list[T]]) -> list[T]:
    found = look(_LAST)
    return found if len(found) < _LAST else look(_MORE)


def _changed(row: CommentRow, known: Fingerprint) -> bool:
    """A row that became invalid is the sweep's, and the deletion guard's."""
    return known[:3] != fingerprint_of(row, None)[:3] and is_valid(row)

"""The tail's first look after a start: the store against the rows, for what changed while no tail ran.

1 the digests of all profiles, and their differences from one sequential read of the rows; 2 the users who differ,
register by register; 3 what disappeared, all taken together, if the brake lets it.
"""

from collections.abc import Callable, Iterator

import structlog

from consumer.tail.changes.blocked_deletions import DeletionGuard
from consumer.tail.rows.event_builder import EventBuilder
from consumer.tail.rows.fingerprints import counts
from projections.comments.events import MAX_CLOCK_SKEW, Event, InsightCreated
from projections.comments.rows import InvalidRowError
from projections.database.database import Database
from projections.projection import Projection
from snapshot.deletion_guard import PendingDeletions, Totals, reason_to_block
from snapshot.reconcile.digests import Digests, StoredDigests, differing, stored_digests, subtract, sum_rows
from snapshot.reconcile.reconcile import (
    Part,
    PartComparison,
    Scope,
    cut,
    read_part,
    recompute_inconsistent,
    remove_damaged,
)
from snapshot.runtime.logs import warn_invalid_row

log = structlog.get_logger()

_PAGE = 2_000
_COMMENTS_A_RANGE = 5_000


class StartupCheck:
    """One pass over all users, after the memory was filled.

    `ready` says whether the store holds everything that earlier tails sent: before that, a register that is in step
    may still be overtaken by an older reading. None: it may never come to that, so nothing is compared, and the
    watermark stays where it is.

    `in_process`: what a turn gave is applied before the next turn, so that profiles which still differ afterwards can
    be mended.
    """

    def __init__(  # noqa: PLR0913 - the parts that the owner wires
        self,
        projection: Projection,
        database: Database,
        builder: EventBuilder,
        guard: DeletionGuard,
        *,
        ready: Callable[[], bool | None],
        in_process: bool,
    ) -> None:
        self._projection = projection
        self._database = database
        self._builder = builder
        self._guard = guard
        self._ready = ready
        self._in_process = in_process
        self._todo: list[Part] | None = None
        self._pages: Iterator[list[Event]] | None = None
        self._stored = StoredDigests()
        self._blocked: list[Event] = []
        self._endings = PendingDeletions()
        self.done = False
        self.given_up = False

    def turn(self) -> list[Event] | None:
        """Do the next page; None while it isn't ready, and when it is done."""
        if self.done:
            return None
        if self._pages is None:
            ready = self._ready()
            self.done = ready is None
            self.given_up |= self.done
            if not ready:
                return None
            self._pages = self._work()
        try:
            found = next(self._pages, None)
        except BaseException:
            self._pages = None  # goes on with the part in which it stopped
            raise
        self.done = found is None
        return found

    def _work(self) -> Iterator[list[Event]]:
        if self._todo is None:
            yield from self._differing()
        while self._todo:
            yield from self._part(self._todo[-1])
            self._todo.pop()
        yield from self._release()

    # ------------------------------------------------------------------------------------------------------- step 1

    def _differing(self) -> Iterator[list[Event]]:
        store, database = self._projection.store, self._database
        ranges = database.user_ranges(_COMMENTS_A_RANGE)
        found = StoredDigests()
        for first, last in ranges:
            part = stored_digests(store, store.profiles(first, last))
            for slug, users in part.digests.items():
                found.digests.setdefault(slug, {}).update(users)
            found.shown += part.shown
            found.comments += part.comments
            yield []
        self._stored = found
        wanted: frozenset[int] | None = None
        if found.digests:
            yield from self._subtracted(found.digests)
            wanted = frozenset(differing(found.digests))
        self._todo = list(cut(ranges, wanted))[::-1]

    def _subtracted(self, digests: Digests) -> Iterator[list[Event]]:
        after = -1
        while rows := self._database.comments_after(after, _PAGE):
            groups = self._builder.groups
            subtract(digests, sum_rows(self._database, after + 1, rows[-1].comment_id, groups, _quietly))
            after = rows[-1].comment_id
            yield []

    # ------------------------------------------------------------------------------------------------------- step 2

    def _part(self, part: Part) -> Iterator[list[Event]]:
        stored = read_part(self._projection.store, part, Scope())
        remove_damaged(self._projection.store, stored)
        parting = PartComparison(self._database, part, Scope(), stored, warn_invalid_row)
        ending: list[Event] = []
        for page in parting.pages():
            taken = self._taken(page)
            for event in taken:
                self._builder.revisions.saw(event.revision)
            ending += filter(_ends, taken)
            yield [event for event in taken if not _ends(event)]
        self._blocked += ending
        self._endings.merge(parting.comparison.pending_deletions())
        if self._in_process:
            recompute_inconsistent(self._projection, stored)

    def _taken(self, page: list[Event]) -> list[Event]:
        """Leave out what consumers would refuse: above a register that is far ahead of the clock."""
        if self._in_process or not page:
            return page
        latest = self._database.clock() + MAX_CLOCK_SKEW
        early = [event for event in page if event.revision > latest]
        for event in early:
            self.given_up = True
            log.error(
                "a comment's register is ahead of the clock, so the relay can't mend it; snapshot-rebuild can",
                comment_id=event.comment_id,
                user_id=event.user_id,
                seconds=(event.revision - latest + MAX_CLOCK_SKEW) // 1_000_000,
            )
        return [event for event in page if event.revision <= latest]

    # ------------------------------------------------------------------------------------------------------- step 3

    def _release(self) -> Iterator[list[Event]]:
        labelled = max(self._endings.tagged, counts(self._builder.memory)[1])
        reason = reason_to_block(self._endings, Totals(self._stored.shown, self._stored.comments, labelled))
        if not self._guard.block("start", reason if self._blocked else None):
            yield self._blocked
        self._blocked = []


def _quietly(_error: InvalidRowError) -> None:
    """It is said when the user is compared."""


def _ends(event: Event) -> bool:
    """Whether an event takes something away of which no row tells that it was meant to go."""
    if isinstance(event, InsightCreated):
        return not (event.resource_tags or event.request_tags or event.tags)
    return event.gone

"""What has a key, or is small enough to be read whole: read in every interval, if anything was committed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from consumer.tail.changes.backlog import DUTY_CYCLE
from consumer.tail.changes.blocked_deletions import DeletionGuard, without_mass_deletion
from consumer.tail.changes.gaps import NARROW, Gaps, MissingIds
from consumer.tail.rows.contribution import NO_CONTRIBUTION, contributions, has_tags
from consumer.tail.rows.event_builder import EventBuilder
from consumer.tail.rows.fingerprints import analysis_hash, ids_of
from projections.comments.events import Event
from projections.comments.rows import AnalysisRow, CommentRow
from projections.database.database import Database, Horizon


class Moment(NamedTuple):
    """When a poll began: its place among all polls, in about microseconds, and the database's change token then.

    Both are from before any row was read. Later polls have higher places, whatever the database's clock does.
    """

    at: int
    token: str


class FullRead(Protocol):
    """Something small that is read whole after a change."""

    def look(self) -> bool:
        """Read it, and add tasks for what differs. False: repeat this, even without a change."""
        ...


class ThrottledRead:
    """A `FullRead` that is not repeated before it has rested, however often something is committed.

    `moment` is the last one that it is in step with.
    """

    def __init__(self, read: FullRead, now: Callable[[], float]) -> None:
        self._read = read
        self._now = now
        self._rested_at = now()
        self.moment = Moment(0, "")

    def look(self, moment: Moment) -> None:
        """Read, if anything was committed since the last time and it has rested."""
        began = self._now()
        complete = moment.token == self.moment.token
        if not complete and began >= self._rested_at:
            complete = self._read.look()
            self._rested_at = self._now() + DUTY_CYCLE * (self._now() - began)
        if complete:
            self.moment = moment


class Heads(NamedTuple):
    """Where polling stands: the highest keys that were read, and what is missing below them."""

    comment_id: int
    analysis_comment_id: int
    comment_gaps: Sequence[MissingIds] = ()
    analysis_gaps: Sequence[MissingIds] = ()


def first_heads(database: Database) -> Heads:
    """Where the very first tail begins: what is missing just below the heads may be of transactions that are open."""
    heads = database.heads()
    return Heads(
        heads.comment_id,
        heads.analysis_comment_id,
        _missing_below(heads.comment_id, database, lambda after: ids_of(database.comments_after(after, NARROW))),
        _missing_below(
            heads.analysis_comment_id,
            database,
            lambda after: [one.comment_id for one in database.analyses_after(after, NARROW)],
            insights=True,
        ),
    )


def _missing_below(
    head: int, database: Database, read: Callable[[int], list[int]], *, insights: bool = False
) -> list[MissingIds]:
    after = max(0, head - NARROW)
    found = [key for key in read(after) if key <= head]
    horizon = database.horizon(insights=insights)
    gaps = Gaps()
    if horizon and found:
        gaps.add(after, found, database.clock(), horizon.xmax)
    return list(gaps)


class Polling:
    """Reads what is new, and the `full_reads` besides; after a commit `index_lookup` finds what an index leads to.

    `last` is when the last poll began, `handed_out` the last one of which everything was handed out or made a task.
    """

    def __init__(  # noqa: PLR0913 - the parts that the tail wires
        self,
        database: Database,
        builder: EventBuilder,
        guard: DeletionGuard,
        heads: Heads,
        full_reads: Iterable[FullRead],
        *,
        index_lookup: Callable[[], Iterator[list[Event]]],
        page: int,
        now: Callable[[], float],
    ) -> None:
        self._database = database
        self._builder = builder
        self._guard = guard
        self._comment_head, self._analysis_head = heads.comment_id, heads.analysis_comment_id
        self._comment_gaps, self._analysis_gaps = Gaps(heads.comment_gaps), Gaps(heads.analysis_gaps)
        self._full_reads = [ThrottledRead(read, now) for read in full_reads]
        self._index_lookup = index_lookup
        self._page = page
        self._rows_token: str | None = None
        self.last = self.handed_out = Moment(0, "")

    @property
    def heads(self) -> Heads:
        """Where it stands, after what was handed out."""
        return Heads(self._comment_head, self._analysis_head, list(self._comment_gaps), list(self._analysis_gaps))

    def work(self, at: int) -> Iterator[list[Event]]:
        """Do one poll, in pages of events; `at` is its place. Nothing is read unless something was committed."""
        moment = self.last = Moment(at, self._database.change_token())
        for read in self._full_reads:
            read.look(moment)
        if moment.token != self._rows_token:
            heads = self._database.heads()
            # Lower than before: the last rows were deleted, and SQLite gives their ids to the next ones.
            self._comment_head = min(self._comment_head, heads.comment_id)
            self._analysis_head = min(self._analysis_head, heads.analysis_comment_id)
            time = self._database.clock()
            yield from self._missing_comments(time)
            yield from self._new_comments(time, heads.comment_id)
            yield from self._missing_analyses(time)
            yield from self._new_analyses(time, heads.analysis_comment_id)
            yield from self._index_lookup()
            self._rows_token = moment.token
        # The earliest, not only where all agree: two that rest in turn never do while something is committed all the
        # time.
        self.handed_out = min([moment, *(read.moment for read in self._full_reads)])

    # ---------------------------------------------------------------------------------------------------- comments

    def _new_comments(self, at: int, highest: int) -> Iterator[list[Event]]:
        while self._comment_head < highest:
            rows = self._database.comments_after(self._comment_head, self._page)
            if not rows:
                return
            keys = ids_of(rows)
            horizon = self._horizon_where_missing(self._comment_head, keys)
            # SQLite gives an id again: then a new row ends another comment.
            found = self._builder.build(without_mass_deletion(self._builder, self._guard, rows))
            if horizon:
                self._comment_gaps.add(self._comment_head, keys, at, horizon.xmax)
            self._comment_head = keys[-1]
            yield found

    def _missing_comments(self, at: int) -> Iterator[list[Event]]:
        gaps = self._comment_gaps
        if not gaps:
            return
        horizon = self._database.horizon()
        rows: list[CommentRow] = []
        if ids := gaps.narrow_ids():
            rows += self._database.comments_by_ids(ids)
        for gap in gaps.wide():
            within = self._database.comments_after(gap.low - 1, self._page)
            rows += [row for row in within if row.comment_id <= gap.high]
        after = self._database.horizon() if rows else None
        found = self._builder.build(without_mass_deletion(self._builder, self._guard, rows))
        gaps.fill(ids_of(rows), at, after.xmax if after else 0)
        gaps.expire(at, horizon.xmin if horizon else 0)
        yield found

    # ---------------------------------------------------------------------------------------------------- analyses

    def _new_analyses(self, at: int, highest: int) -> Iterator[list[Event]]:
        while self._analysis_head < highest:
            analyses = self._database.analyses_after(self._analysis_head, self._page)
            if not analyses:
                return
            keys = [one.comment_id for one in analyses]
            horizon = self._horizon_where_missing(self._analysis_head, keys, insights=True)
            found = build_analysed(self._database, self._builder, analyses)
            if horizon:
                self._analysis_gaps.add(self._analysis_head, keys, at, horizon.xmax)
            self._analysis_head = keys[-1]
            yield found

    def _missing_analyses(self, at: int) -> Iterator[list[Event]]:
        """Most of these are comments that were never analysed; they are given up like the others."""
        gaps = self._analysis_gaps
        if not gaps:
            return
        horizon = self._database.horizon(insights=True)
        analyses = self._database.analyses_by_ids(gaps.narrow_ids())
        found = build_analysed(self._database, self._builder, analyses.values())
        gaps.fill(analyses, at, 0)
        gaps.expire(at, horizon.xmin if horizon else 0)
        yield found

    # -------------------------------------------------------------------------------------------------------- gaps

    # The horizon is read before anything is published: were it to fail after that, what is remembered as published
    # would never be handed out.

    def _horizon_where_missing(self, after: int, found: list[int], *, insights: bool = False) -> Horizon | None:
        return self._database.horizon(insights=insights) if found[-1] - after > len(found) else None


def changed_analyses(builder: EventBuilder, analyses: Iterable[AnalysisRow]) -> dict[int, AnalysisRow]:
    """Those that are not as remembered, by comment id."""
    found = {one.comment_id: one for one in analyses}
    known = builder.fingerprints.get(found)
    return {key: one for key, one in found.items() if key not in known or known[key].analysis != analysis_hash(one)}


def build_analysed(database: Database, builder: EventBuilder, analyses: Iterable[AnalysisRow]) -> list[Event]:
    """Give the present state of the comments whose analyses are not as remembered.

    What would take a comment out of a profile, or all tags from it, is left to the sweep, which asks the guard.
    """
    changed = changed_analyses(builder, analyses)
    rows = database.comments_by_ids(changed) if changed else []
    known, present = builder.fingerprints.entries(changed), contributions(rows, changed, builder.groups)

    def takes_nothing_away(row: CommentRow) -> bool:
        old, new = known.get(row.comment_id), present.get(row.comment_id, NO_CONTRIBUTION)
        return old is None or not (builder.ended(row, old, new) or (has_tags(old.contribution) and not has_tags(new)))

    return builder.build(list(filter(takes_nothing_away, rows)), changed)

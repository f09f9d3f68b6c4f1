"""The tail: everything that changes in WhiteBalloon's database, as pages of events.

Each turn does one bounded piece of work, the most urgent first: 1 a poll (`consumer.tail.changes.poll`), in every
interval, for what has a key; 2 tasks that a poll added; 3 the stages of a start (remember the rows, publish the history
or verify the store); 4 a piece of the comparison with the store, which goes on for ever; 5 the sweep, for what has no
key. While nothing is committed, a poll is two look-ups, and nothing follows but the comparison.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from consumer.tail.changes.analysis_runs import AnalysisRuns
from consumer.tail.changes.backlog import Tasks
from consumer.tail.changes.blocked_deletions import DeletionGuard
from consumer.tail.changes.index_lookup import IndexLookup
from consumer.tail.changes.memberships import MembershipChanges
from consumer.tail.changes.poll import Heads, Moment, Polling, first_heads
from consumer.tail.changes.sweep import Sweep
from consumer.tail.progress import Progress
from consumer.tail.rows.event_builder import EventBuilder
from consumer.tail.rows.fingerprints import RowFingerprints
from consumer.tail.rows.revisions import Revisions
from consumer.tail.state import TailSettings, TailState
from consumer.tail.verify.store_check import StoreCheck
from projections.comments.events import Event
from projections.database.database import Database, DatabaseUnavailableError
from projections.database.protocol import commits_seen
from projections.errors import OperatorError
from projections.watermark import Watermark
from snapshot.runtime.metrics import Metrics
from snapshot.runtime.throttle import ThrottledWarning

_PAUSE = 1.0
_Work = Callable[[], list[Event] | None]
_UNSEEN_SECONDS = 600.0
"""How often all rows are read where no commit was seen, though a file may not show all: a round is dear."""
UNREADABLE = "the database can't be read; trying again"


class StartupStage(Protocol):
    """Work of the start, done once."""

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        ...

    def turn(self) -> list[Event] | None:
        """Do the next page; None while it waits for something, and when it is done."""
        ...


class Start(NamedTuple):
    """What a start has to do, one after the other, and the comparison that goes on afterwards."""

    stages: Sequence[StartupStage]
    check: StoreCheck | None


class Tail:
    """Everything that `open_tail` wires. Used by one thread; `now` is a monotonic clock in seconds."""

    def __init__(  # noqa: PLR0913 - the parts that `open_tail` wires
        self,
        settings: TailSettings,
        *,
        builder: EventBuilder,
        polling: Polling,
        sweep: Sweep,
        tasks: Tasks,
        start: Start,
        guard: DeletionGuard,
        progress: Progress,
        begin_poll: Callable[[], int | None],
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._builder = builder
        self._polling = polling
        self._sweep = sweep
        self._tasks = tasks
        self._stages = list(start.stages)
        self._check = start.check
        self._guard = guard
        self._progress = progress
        self._begin_poll = begin_poll
        self._metrics = metrics
        self._now = now
        self._poll: Iterator[list[Event]] | None = None
        self._poll_due = self._retry_at = now()
        self._warning = ThrottledWarning(UNREADABLE, now)
        self._work: _Work = self._poll_turn
        self._failed: _Work | None = None
        """The work that could not read the database, until it can: what the others read proves nothing."""
        self.turns = 0
        """How many turns did something."""
        self._started: Moment | None = None
        """The last poll before the stages began."""
        self._round: Moment | None = None
        """The last poll before the last round over all rows began; the stages count as the first round."""
        self._round_began_at = now()
        self._read_since: Moment | None = None
        """The last poll before the last round that has ended began: one may end while a stage waits."""

    # ------------------------------------------------------------------------------------------------------ turning

    def turn(self) -> list[Event] | None:
        """Do a piece of work; its events. None: nothing to do for `wait` seconds.

        While the database can't be read, it says so in the log, and tries again later. Raises StoreUnavailableError.
        """
        if self._now() < self._retry_at:
            return None
        try:
            found = self._turn()
        except (DatabaseUnavailableError, OperatorError) as error:
            self._poll, self._failed = None, self._work
            self._retry_at = self._now() + _PAUSE
            self._warning.warn(str(error))
            return None
        except BaseException:
            self._poll = None
            raise
        if self._failed is None:
            self._warning.resolved()
        self.turns += found is not None
        return found

    @property
    def trouble(self) -> str | None:
        """Why the database can't be read at present."""
        return self._warning.reason

    def wait(self) -> float:
        """Seconds until there may be something to do."""
        now = self._now()
        if now < self._retry_at:
            return self._retry_at - now
        due = [self._poll_due]
        if self._round_is_wanted():
            due.append(self._round_due())
        if self._check is not None and not self._stages:
            due.append(self._check.due_at)
        return max(0.0, min(due) - now)

    def _turn(self) -> list[Event] | None:
        for work in (self._poll_turn, self._tasks.turn, self._stage_turn, self._check_turn, self._sweep_turn):
            self._work = work
            found = work()
            if work == self._failed:
                self._failed = None
            if found is not None:
                break
        if self._poll is None:
            self._guard.remind()
            if not self._tasks:
                held = self._guard.is_blocked or self._sweep.held
                trusted = not held and (self._check is None or self._check.verified)
                self._progress.update(self._polling.last, self._polling.handed_out, trusted=trusted)
        return found

    def _poll_turn(self) -> list[Event] | None:
        if self._poll is None and self._now() >= self._poll_due and (place := self._begin_poll()) is not None:
            self._poll = self._polling.work(place)
        found = None if self._poll is None else next(self._poll, None)
        if found is None and self._poll is not None:
            self._poll = None
            self._poll_due = self._now() + self._settings.poll_interval
            self._metrics.gauge("signal_glaze.gaps", len(self._polling.heads.comment_gaps))
        return found

    def _stage_turn(self) -> list[Event] | None:
        while self._stages:
            if self._started is None:
                self._started = self._round = self._polling.last
                self._round_began_at = self._now()
            found = self._stages[0].turn()
            if found is not None or not self._stages[0].done:
                return found
            self._stages.pop(0)
            if not self._stages:
                self._progress.all_rows_were_read(self._read_since or self._started)
        return None

    def _check_turn(self) -> list[Event] | None:
        return None if self._check is None or self._stages else self._check.turn()

    # ------------------------------------------------------------------------------------------------------- sweeps

    def _sweep_turn(self) -> list[Event] | None:
        """Do a page of a round; begin one if anything was committed since the last one began.

        Now and then also where only polls looked, because a SQLite file may not show all that is committed to it.
        """
        if not self._round_is_wanted() or self._now() < self._round_due():
            return None
        if not self._sweep.running:
            self._sweep.begin()
            self._round, self._round_began_at = self._polling.last, self._now()
        found = self._sweep.turn()
        if found is None:
            self._metrics.gauge("signal_glaze.sweep_round_seconds", self._sweep.seconds)
            self._read_since = self._round
            if not self._stages and self._round is not None:
                self._progress.all_rows_were_read(self._round)
        return found

    def _round_is_wanted(self) -> bool:
        if self._sweep.running or self._round is None:
            return self._sweep.running
        return self._round.token != self._polling.last.token or self._may_be_let_go()

    def _may_be_let_go(self) -> bool:
        """Whether what the last round held up may go by now."""
        return self._sweep.held and not self._guard.is_blocked

    def _round_due(self) -> float:
        if self._sweep.running:
            return self._sweep.due_at
        before, last = "" if self._round is None else self._round.token, self._polling.last.token
        seen = commits_seen(before) != commits_seen(last) or self._may_be_let_go()
        return self._round_began_at + (self._settings.sweep_interval if seen else _UNSEEN_SECONDS)

    # ------------------------------------------------------------------------------------------------- how far it is

    @property
    def last_poll(self) -> int:
        """The place of the last poll that began."""
        return self._polling.last.at

    def caught_up(self, since: int) -> bool:
        """Whether everything committed before the end of the poll in this place was handed out, or is blocked."""
        return not self._tasks and self._progress.passed(since)

    @property
    def is_blocked(self) -> bool:
        """Whether any deletion is blocked."""
        return self._guard.is_blocked

    @property
    def blocked(self) -> Mapping[str, str]:
        """What the deletion guard blocks, by who asked it."""
        return self._guard.blocked

    @property
    def starting(self) -> bool:
        """Whether the stages of the start are not all done."""
        return bool(self._stages)

    def state(self) -> TailState:
        """Where a successor would go on, if it has everything that was handed out so far."""
        heads = self._polling.heads
        return TailState(
            polled_until=self._progress.polled_until,
            swept_until=self._progress.swept_until,
            comment_head=heads.comment_id,
            analysis_head=heads.analysis_comment_id,
            comment_gaps=list(heads.comment_gaps),
            analysis_gaps=list(heads.analysis_gaps),
            highest=self._builder.fingerprints.highest,
            read_until=self._progress.read_until,
        )


def open_tail(  # noqa: PLR0913 - seams
    database: Database,
    before: TailState | None,
    revisions: Revisions,
    start: Callable[[EventBuilder, DeletionGuard, Heads], Start],
    settings: TailSettings,
    *,
    begin_poll: Callable[[], int | None],
    metrics: Metrics,
    now: Callable[[], float],
) -> Tail:
    """Read where the database stands, and wire a tail that goes on from the state `before`.

    Without one, the history is what a stage has to bring: the heads are those of now, before any of it is read.
    `begin_poll` gives each poll its place (see `Moment`), or None where none may begin. Raises DatabaseUnavailableError
    and OperatorError.
    """
    if before is None:
        heads = first_heads(database)
        highest = heads.comment_id
    else:
        heads = Heads(before.comment_head, before.analysis_head, before.comment_gaps, before.analysis_gaps)
        highest = before.highest
    guard = DeletionGuard(prune_all=settings.prune_all, now=now)
    builder = EventBuilder(database, database.groups(), RowFingerprints(highest), revisions, metrics)
    tasks = Tasks()
    full_reads = (
        MembershipChanges(database, builder, guard, tasks.add),
        AnalysisRuns(database, builder, tasks.add, now),
    )
    index_lookup = IndexLookup(database, builder, guard, now).work
    polling = Polling(
        database, builder, guard, heads, full_reads, index_lookup=index_lookup, page=settings.page, now=now
    )
    sweep = Sweep(
        database,
        builder,
        guard,
        head=lambda: polling.heads.comment_id,
        rows_per_second=settings.sweep_rows_per_second,
        now=now,
    )
    return Tail(
        settings,
        builder=builder,
        polling=polling,
        sweep=sweep,
        tasks=tasks,
        start=start(builder, guard, heads),
        guard=guard,
        progress=Progress(before or Watermark()),
        begin_poll=begin_poll,
        metrics=metrics,
        now=now,
    )

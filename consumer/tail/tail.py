"""The tail: everything that changes in WhiteBalloon's database, as pages of events.

Each turn does one bounded piece of work, the most urgent first: 1 a poll (`consumer.tail.changes.poll`), in every
interval, for what has a key; 2 tasks that a poll left; 3 the stages that a start needs (fill the memory, verify the
store or publish the history); 4 the sweep, for what has no key. Where nothing is committed, a poll is two look-ups
and nothing follows.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from consumer.tail.changes.analysis_runs import AnalysisRuns
from consumer.tail.changes.backlog import Tasks
from consumer.tail.changes.blocked_deletions import DeletionGuard
from consumer.tail.changes.index_lookup import IndexLookup
from consumer.tail.changes.memberships import MembershipChanges
from consumer.tail.changes.poll import Heads, Moment, Polling, first_heads
from consumer.tail.changes.sweep import Sweep
from consumer.tail.rows.event_builder import EventBuilder
from consumer.tail.rows.fingerprints import RowFingerprints
from consumer.tail.rows.revisions import Revisions
from consumer.tail.state import TailSettings, TailState
from projections.comments.events import Event
from projections.database.database import Database, DatabaseUnavailableError
from projections.errors import OperatorError
from projections.watermark import Watermark
from snapshot.runtime.metrics import Metrics
from snapshot.runtime.throttle import ThrottledWarning

_PAUSE = 1.0
UNREADABLE = "the database can't be read; trying again"


class StartupStage(Protocol):
    """Work of the start, done once. `done` once nothing is left; `given_up` where it was not all done."""

    done: bool
    given_up: bool

    def turn(self) -> list[Event] | None:
        """Do the next page; None while it waits for something, and when it is done."""
        ...


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
        stages: Sequence[StartupStage],
        guard: DeletionGuard,
        before: Watermark,
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._builder = builder
        self._polling = polling
        self._sweep = sweep
        self._tasks = tasks
        self._stages = list(stages)
        self._guard = guard
        self._now = now
        self._metrics = metrics
        self._poll: Iterator[list[Event]] | None = None
        self._poll_due = self._retry_at = now()
        self._warning = ThrottledWarning(UNREADABLE, now)
        self.turns = 0
        """How many turns did something."""
        self._look: Moment | None = None  # when the last look at all rows began: nothing to sweep for before a commit
        self._looked_at = now()
        self._complete: Moment | None = None  # when the last look began whose findings are all handed out
        self._stage_began: Moment | None = None
        self._given_up = False
        self._started = ""  # the change token when the stages were done
        self._polled_until, self._swept_until = before.polled_until, before.swept_until
        self._seen_until = 0

    # ------------------------------------------------------------------------------------------------------ turning

    def turn(self) -> list[Event] | None:
        """Do a piece of work; its events. None: nothing to do for `wait` seconds.

        Where the database can't be read, it says so in the log, and tries again later. Raises StoreUnavailableError.
        """
        if self._now() < self._retry_at:
            return None
        try:
            found = self._turn()
        except (DatabaseUnavailableError, OperatorError) as error:
            self._poll = None
            self._retry_at = self._now() + _PAUSE
            self._warning.warn(str(error))
            return None
        except BaseException:
            self._poll = None
            raise
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
        due = min(self._poll_due, self._round_due()) if self._round_wanted() else self._poll_due
        return max(0.0, due - now)

    def _turn(self) -> list[Event] | None:
        if self._poll is None and self._now() >= self._poll_due:
            self._poll = self._polling.work()
        if self._poll is not None:
            found = next(self._poll, None)
            if found is not None:
                return found
            self._poll = None
            self._poll_due = self._now() + self._settings.poll_interval
            self._metrics.gauge("signal_glaze.gaps", len(self._polling.heads.comment_gaps))
        found = self._tasks.turn()
        if found is None:
            found = self._start_up()
        if found is None:
            found = self._sweep_turn()
        self._note()
        return found

    def _start_up(self) -> list[Event] | None:
        while self._stages:
            began = self._stage_began = self._stage_began or self._polling.last
            if self._look is None:
                self._look, self._looked_at = began, self._now()
            found = self._stages[0].turn()
            if found is not None or not self._stages[0].done:
                return found
            self._given_up |= self._stages.pop(0).given_up
            self._stage_began = None
            if not self._stages:
                self._complete, self._started = began, self._polling.last.token
        return None

    # ------------------------------------------------------------------------------------------------------- sweeps

    def _sweep_turn(self) -> list[Event] | None:
        """Do a page of a round; begin one if anything was committed since the last look began."""
        if not self._round_wanted() or self._now() < self._round_due():
            return None
        if not self._sweep.running:
            self._look, self._looked_at = self._polling.last, self._now()
            self._sweep.begin()
        found = self._sweep.turn()
        if found is None:
            self._metrics.gauge("signal_glaze.sweep_round_seconds", self._sweep.seconds)
            if not self._stages:
                self._complete = self._look
        return found

    def _round_wanted(self) -> bool:
        return self._sweep.running or (self._look is not None and self._look.token != self._polling.last.token)

    def _round_due(self) -> float:
        return self._sweep.due_at if self._sweep.running else self._looked_at + self._settings.sweep_interval

    # ------------------------------------------------------------------------------------------------- how far it is

    def _note(self) -> None:
        """Move the watermark, where everything up to it was handed out."""
        self._guard.remind()
        if self._tasks:
            return
        if self._polling.seen.at:
            self._polled_until = self._polling.seen.at
        if self._complete is not None:
            idle = self._complete.token == self._polling.last.token
            self._seen_until = self._polling.last.at if idle else self._complete.at
            if not self._given_up and not self._guard.is_blocked:
                self._swept_until = self._seen_until

    def caught_up(self, asked: int) -> bool:
        """Whether everything committed before this time (of the database's clock) was handed out, or is held back."""
        return not self._tasks and min(self._polling.seen.at, self._seen_until) >= asked

    @property
    def is_blocked(self) -> bool:
        """Whether anything is held back."""
        return self._guard.is_blocked

    @property
    def is_blocked_since_start(self) -> bool:
        """Whether something is held back since the stages, and something was committed after them."""
        return self._guard.is_blocked_at("start") and self._started != self._polling.last.token

    @property
    def starting(self) -> bool:
        """Whether the stages of the start are not all done."""
        return bool(self._stages)

    def state(self) -> TailState:
        """Where a successor would go on, if it has everything that was handed out so far."""
        heads = self._polling.heads
        return TailState(
            polled_until=self._polled_until,
            swept_until=self._swept_until,
            comment_head=heads.comment_id,
            analysis_head=heads.analysis_comment_id,
            comment_gaps=list(heads.comment_gaps),
            analysis_gaps=list(heads.analysis_gaps),
            highest=self._builder.memory.highest,
        )


def open_tail(  # noqa: PLR0913 - seams
    database: Database,
    before: TailState | None,
    revisions: Revisions,
    stages: Callable[[EventBuilder, DeletionGuard, Heads], Sequence[StartupStage]],
    settings: TailSettings,
    *,
    metrics: Metrics,
    now: Callable[[], float],
) -> Tail:
    """Read where the database stands, and wire a tail that goes on from the state `before`.

    Without one, the history is what a stage has to bring: the heads are those of now, before any of it is read.
    Raises DatabaseUnavailableError and OperatorError.
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
    regrouping = MembershipChanges(database, builder, guard, tasks.add)
    runs = AnalysisRuns(database, builder, tasks.add, now)
    dated = IndexLookup(database, builder)
    polling = Polling(database, builder, heads, (regrouping, runs), dated=dated.work, page=settings.page, now=now)
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
        stages=stages(builder, guard, heads),
        guard=guard,
        before=before or Watermark(),
        metrics=metrics,
        now=now,
    )

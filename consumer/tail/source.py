"""WhiteBalloon's database as a source: the tail in process, where there is no broker."""

import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import structlog

from consumer.source import EMPTY, Assignment, Batch, Offsets
from consumer.tail.changes.blocked_deletions import DeletionGuard
from consumer.tail.changes.poll import Heads
from consumer.tail.lease import TailLease
from consumer.tail.rows.event_builder import EventBuilder, chunks
from consumer.tail.session import LeaseTerm
from consumer.tail.startup.fill import Fill
from consumer.tail.startup.verify import StartupCheck
from consumer.tail.state import TailSettings, TailState
from consumer.tail.tail import UNREADABLE, StartupStage, Tail, open_tail
from projections.comments.events import Event
from projections.database.database import Database, DatabaseUnavailableError
from projections.errors import OperatorError
from projections.profile_key import HIGHEST_ID
from projections.projection import Projection
from projections.store.protocol import StoreUnavailableError
from snapshot.runtime.metrics import NO_METRICS, Metrics
from snapshot.runtime.throttle import ThrottledWarning

log = structlog.get_logger()

PARTITION = "tail/0"
DEFAULTS = TailSettings()
_UNCOMMITTED = 50_000
"""Events that may wait for a commit; then nothing more is read."""


class _Sent(NamedTuple):
    """A batch until it is committed: the position after it, and where a successor goes on then (None: no change)."""

    end: int
    events: Sequence[Event]
    state: TailState | None


class DatabaseTail:
    """`consumer.source.Source` over the two databases; its one partition is `tail/0`.

    Positions are batch numbers, from the same row of numbers as revisions. It connects to nothing when it is made.
    Only the holder of the lease `tail` has the partition; the others wait with an empty assignment. The caller must
    have applied a batch before it polls for the next. After a start the store is verified against the rows; into an
    empty store that is the backfill.

    Give `database` a short patience (2 s, say): while a read waits for a lock, nothing is delivered, and after five
    seconds another process may take over. Where the database is away, `poll` gives empty batches and the log says so.
    `poll`, `offsets`, `commit` and `exhausted` raise StoreUnavailableError. `token` names this process among the
    holders of the lease.
    """

    def __init__(  # noqa: PLR0913 - seams, all with defaults
        self,
        projection: Projection,
        database: Database,
        settings: TailSettings = DEFAULTS,
        *,
        metrics: Metrics = NO_METRICS,
        token: str | None = None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._projection = projection
        self._database = database
        self._settings = settings
        self._metrics = metrics
        self._now = now
        self._sleep = sleep
        self._lease = TailLease(projection.store, token or secrets.token_hex(8), settings.lease, now)
        self._warning = ThrottledWarning(UNREADABLE, now)
        self._retry_at = now()
        self._generation = 0
        self._assigned = False
        self._paused = False
        self._asked: int | None = None
        self._forget()

    def _forget(self) -> None:
        """Know nothing: another tail may have gone on meanwhile."""
        self._term: LeaseTerm | None = None
        self._tail: Tail | None = None
        self._idle = True
        self._position: int | None = None  # batches are delivered from here on; None: not started
        self._committed: int | None = None
        self._end = 0
        self._queue: deque[_Sent] = deque()
        self._sent: deque[_Sent] = deque()

    # ---------------------------------------------------------------------------------------------- the protocol

    def poll(self, seconds: float) -> Batch:
        """Wait at most so long for the next batch. Raises StoreUnavailableError."""
        deadline = self._now() + seconds
        while True:
            self._hold()
            batch = self._next()
            if batch is not EMPTY:
                return batch
            left = deadline - self._now()
            if left <= 0:
                return EMPTY
            self._sleep(min(left, self._wait()))

    def assignment(self) -> Assignment:
        """The partition, if this process holds the lease."""
        return Assignment(self._generation, frozenset([PARTITION] if self._assigned else []))

    def offsets(self, partitions: frozenset[str]) -> Mapping[str, Offsets]:
        """Look up the position that was committed and the end: no number from there up was ever given out."""
        if PARTITION not in partitions or not self._assigned:
            return {}
        self._begin()
        return {PARTITION: Offsets(self._committed, 0, self._end, "tail")}

    def start(self, generation: int, positions: Mapping[str, int]) -> None:
        """Deliver from this position on: first again what was delivered above it."""
        if generation != self._generation or PARTITION not in positions or not self._assigned:
            return
        self._begin()
        position = positions[PARTITION]
        again = deque(one for one in (*self._sent, *self._queue) if one.end > position)
        if position < self._end and (not again or again[-1].end < self._end):
            again.append(_Sent(self._end, (), None))  # the buckets go to where all numbers are new
        self._sent, self._queue = deque(one for one in self._sent if one.end <= position), again
        self._position = position

    def pause(self) -> None:
        """Deliver nothing more."""
        self._paused = True

    def resume(self) -> None:
        """Deliver again."""
        self._paused = False

    def commit(self, positions: Mapping[str, int]) -> None:
        """Keep in the store where a successor goes on. Raises StoreUnavailableError; then commit again."""
        position = positions.get(PARTITION)
        if position is None or self._term is None:
            return
        state = self._term.state
        while self._sent and self._sent[0].end <= position:
            state = self._sent.popleft().state or state
        self._committed = max(position, self._committed or 0)
        self._put(state)
        self._term.save()

    def lag(self) -> Mapping[str, int]:
        """How many events are read and not yet delivered."""
        return {PARTITION: sum(len(one.events) for one in self._queue)} if self._assigned else {}

    def exhausted(self) -> bool:
        """Whether everything that was committed when this was first asked has been delivered, or is held back.

        Where another process holds the lease: whether its document says so. Raises StoreUnavailableError.
        """
        try:
            if self._asked is None:
                self._asked = self._database.clock()
        except (DatabaseUnavailableError, OperatorError):
            return False
        if self._assigned:
            caught_up = self._tail is not None and not self._queue and self._tail.caught_up(self._asked)
            if caught_up:
                self._keep()  # a short run ends before the lease is renewed, and others go by the watermark
            return caught_up
        found = self._lease.load() if self._generation else None
        return found is not None and min(found.polled_until, found.swept_until) >= self._asked

    def close(self) -> None:
        """Leave at once, so that others can take over."""
        try:
            if self._assigned and self._lease.held:
                if self._term is not None:
                    self._term.end()
                self._lease.release()
        except StoreUnavailableError as error:
            log.warning("the lease of the tail could not be given up; it runs out", reason=str(error))
        self._assigned = False
        self._forget()

    # ------------------------------------------------------------------------------------------------- the lease

    def _hold(self) -> None:
        """Renew the lease; where it was won or lost, begin a generation."""
        held = self._lease.hold()
        if held != self._assigned or not self._generation:
            self._assigned = held
            self._generation += 1
            self._forget()
            self._lease.tell()
        elif self._lease.renewed:
            self._keep()
            if self._wants_another_look():
                self._generation += 1
                self._forget()

    def _keep(self) -> None:
        """Write how far the tail is, unless something is on its way: nothing was found, but the watermark moves."""
        if self._tail is not None and self._term is not None and not self._under_way:
            self._put(self._where(self._tail, self._term))
            self._term.save()

    def _wants_another_look(self) -> bool:
        if self._tail is None or self._term is None or self._under_way:
            return False
        return self._term.rescan.due(self._tail)

    @property
    def _under_way(self) -> bool:
        return bool(self._sent or self._queue)

    def _begin(self) -> LeaseTerm:
        """Go on from what the last holder left."""
        if self._term is None:
            self._term = LeaseTerm(self._lease, self._database.clock)
            self._committed = None if self._term.before is None else self._term.before.position
            self._end = self._term.first
        return self._term

    def _put(self, state: TailState) -> None:
        if self._term is not None:
            position = self._committed or 0
            self._term.put(state, {PARTITION: position}, position)

    # -------------------------------------------------------------------------------------------------- delivering

    def _next(self) -> Batch:
        """Give the next batch, after at most one turn of the tail."""
        if not self._assigned or self._position is None or self._paused:
            return EMPTY
        term = self._begin()
        if not self._queue and sum(len(one.events) for one in self._sent) <= _UNCOMMITTED:
            self._turn(term)
        if not self._queue or not term.reserve():
            return EMPTY
        one = self._queue.popleft()
        self._sent.append(one)
        batch = Batch(one.events, {PARTITION: (self._position, one.end)}, ())
        self._position = one.end
        return batch

    def _turn(self, term: LeaseTerm) -> None:
        self._idle = True
        tail = self._tail = self._tail or self._opened(term)
        if tail is None:
            return
        found = tail.turn()
        self._idle = found is None
        for part in chunks(found or (), self._settings.batch):
            self._end = term.revisions.number()
            self._queue.append(_Sent(self._end, part, None))
        if self._queue:
            self._queue[-1] = self._queue[-1]._replace(state=self._where(tail, term))

    def _opened(self, term: LeaseTerm) -> Tail | None:
        """Open the tail, if the database can be read."""
        if self._now() < self._retry_at:
            return None
        try:
            tail = open_tail(
                self._database,
                term.before,
                term.revisions,
                self._stages,
                self._settings,
                metrics=self._metrics,
                now=self._now,
            )
        except (DatabaseUnavailableError, OperatorError) as error:
            self._retry_at = self._now() + self._settings.poll_interval
            self._warning.warn(str(error))
            return None
        self._warning.resolved()
        self._put(self._where(tail, term))
        return tail

    def _stages(self, builder: EventBuilder, guard: DeletionGuard, heads: Heads) -> list[StartupStage]:
        filling = Fill(self._database, builder.memory, heads.comment_id)
        verification = StartupCheck(
            self._projection, self._database, builder, guard, ready=lambda: True, in_process=True
        )
        return [filling, verification]

    @staticmethod
    def _where(tail: Tail, term: LeaseTerm) -> TailState:
        """Where a successor goes on. A relay need not publish what the store has been verified to hold."""
        backfilled = term.state.backfilled if tail.starting else HIGHEST_ID
        return msgspec.structs.replace(tail.state(), backfilled=backfilled)

    def _wait(self) -> float:
        if self._tail is None or self._position is None or self._paused:
            return 0.1
        return self._tail.wait() if self._idle else 0.0

"""WhiteBalloon's database as a source: the tail in process, where there is no broker."""

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from consumer.source import EMPTY, Assignment, Batch, Offsets
from consumer.tail.changes.blocked_deletions import DeletionGuard
from consumer.tail.changes.poll import Heads
from consumer.tail.leased_tail import LeasedTail
from consumer.tail.rows.event_builder import EventBuilder
from consumer.tail.session import LeaseTerm
from consumer.tail.startup.fill import Fill
from consumer.tail.state import TailSettings, TailState
from consumer.tail.tail import Start, Tail
from consumer.tail.verify.store_check import InProcess, StoreCheck
from projections.comments.events import Event
from projections.database.database import Database
from projections.profile_key import HIGHEST_ID
from projections.projection import Projection
from snapshot.runtime.metrics import NO_METRICS, Metrics

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

    Positions are batch numbers, from the same sequence as revisions. It connects to nothing when it is made.
    Only the holder of the lease `tail` has the partition; the others wait with an empty assignment. The caller must
    have applied a batch before it polls for the next. After a start the store is verified against the rows; into an
    empty store that is the backfill.

    Give `database` a short timeout (2 s, say): while a read waits for a lock, nothing is delivered, and after five
    seconds another process may take over. While the database is unreachable, `poll` gives empty batches and the log
    says so. `poll`, `offsets`, `commit` and `exhausted` raise StoreUnavailableError. `token` names this process among
    the holders of the lease.
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
        self._leased = LeasedTail(
            projection.store,
            database,
            settings,
            self._start,
            forgotten=self._forget,
            metrics=metrics,
            token=token or secrets.token_hex(8),
            now=now,
        )
        self._paused = False
        self._forget()

    def _forget(self) -> None:
        """Know nothing: another tail may have worked meanwhile."""
        self._idle = True
        self._position: int | None = None  # batches are delivered from here on; None: not started
        self._last_end: int | None = None
        self._queue: deque[_Sent] = deque()
        self._sent: deque[_Sent] = deque()

    # ---------------------------------------------------------------------------------------------- the protocol

    def poll(self, seconds: float) -> Batch:
        """Wait at most so long for the next batch. Raises StoreUnavailableError."""
        deadline = self._now() + seconds
        while True:
            self._renew()
            batch = self._next()
            if batch is not EMPTY:
                return batch
            left = deadline - self._now()
            if left <= 0:
                return EMPTY
            self._sleep(min(left, self._wait()))

    def assignment(self) -> Assignment:
        """The partition, if this process holds the lease."""
        return Assignment(self._leased.generation, frozenset([PARTITION] if self._leased.working else []))

    def offsets(self, partitions: frozenset[str]) -> Mapping[str, Offsets]:
        """Look up the position that was committed and the end: no number from there up was ever given out."""
        if PARTITION not in partitions or not self._leased.working:
            return {}
        term = self._leased.begin()
        known = term.before is not None or term.state.position
        return {PARTITION: Offsets(term.state.position if known else None, 0, self._end(term), "tail")}

    def start(self, generation: int, positions: Mapping[str, int]) -> None:
        """Deliver from this position on: first again what was delivered above it."""
        if generation != self._leased.generation or PARTITION not in positions or not self._leased.working:
            return
        end = self._end(self._leased.begin())
        position = positions[PARTITION]
        repeated = deque(batch for batch in (*self._sent, *self._queue) if batch.end > position)
        if position < end and not repeated:
            repeated.append(_Sent(end, (), None))  # the buckets go to where all numbers are new
        self._sent, self._queue = deque(batch for batch in self._sent if batch.end <= position), repeated
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
        if position is None or self._leased.term is None:
            return
        state = self._leased.term.state
        while self._sent and self._sent[0].end <= position:
            state = self._sent.popleft().state or state
        self._save(self._leased.term, state, max(position, self._leased.term.state.position))

    def lag(self) -> Mapping[str, int]:
        """How many events are read and not yet delivered."""
        return {PARTITION: sum(len(batch.events) for batch in self._queue)} if self._leased.working else {}

    @property
    def progress(self) -> object:
        """Changes whenever anything is read."""
        return self._leased.progress

    @property
    def blocked(self) -> Mapping[str, str]:
        """What the deletion guard blocks, by who asked it."""
        return self._leased.blocked

    @property
    def trouble(self) -> str | None:
        """Why the database can't be read at present."""
        return self._leased.trouble

    def exhausted(self) -> bool:
        """Whether everything that was committed when this was first asked has been delivered, or is blocked.

        Where another process holds the lease: whether its document says so. Raises StoreUnavailableError.
        """
        caught_up = not self._queue and self._leased.caught_up()
        if caught_up and self._leased.working:
            self._save_progress()  # a short run ends before the lease is renewed, and others go by the watermark
        return caught_up

    def close(self) -> None:
        """Leave at once, so that others can take over."""
        self._leased.close()

    # ------------------------------------------------------------------------------------------------- the lease

    def _renew(self) -> None:
        if self._leased.renew() and self._leased.lease.just_renewed:
            self._save_progress()
            if not self._in_flight:
                self._leased.rescan()

    def _save_progress(self) -> None:
        """Write how far the tail is, unless a batch is in flight: nothing was found, but the watermark moves."""
        term, tail = self._leased.term, self._leased.tail
        if term is not None and tail is not None and not self._in_flight:
            self._save(term, self._where(tail, term), term.state.position)

    @property
    def _in_flight(self) -> bool:
        return bool(self._sent or self._queue)

    @staticmethod
    def _save(term: LeaseTerm, state: TailState, position: int) -> None:
        term.save(replace(state, positions={PARTITION: position}, position=position))

    # -------------------------------------------------------------------------------------------------- delivering

    def _next(self) -> Batch:
        """Give the next batch, after at most one turn of the tail."""
        if not self._leased.working or self._position is None or self._paused:
            return EMPTY
        term = self._leased.begin()
        if not self._queue and sum(len(batch.events) for batch in self._sent) <= _UNCOMMITTED:
            self._turn(term)
        if not self._queue or not term.reserve():
            return EMPTY
        first = self._queue.popleft()
        self._sent.append(first)
        batch = Batch(first.events, {PARTITION: (self._position, first.end)}, ())
        self._position = first.end
        return batch

    def _turn(self, term: LeaseTerm) -> None:
        self._idle = True
        tail = self._leased.tail or self._open(term)
        if tail is None:
            return
        found = tail.turn()
        self._idle = found is None
        for part in batches(found or (), self._settings.batch):
            self._last_end = term.revisions.number()
            self._queue.append(_Sent(self._last_end, part, None))
        if self._queue:
            self._queue[-1] = self._queue[-1]._replace(state=self._where(tail, term))

    def _open(self, term: LeaseTerm) -> Tail | None:
        tail = self._leased.open()
        if tail is not None:
            self._save(term, self._where(tail, term), term.state.position)
        return tail

    def _start(self, builder: EventBuilder, guard: DeletionGuard, heads: Heads) -> Start:
        check = StoreCheck(
            self._projection,
            self._database,
            builder,
            guard,
            InProcess(),
            first_pass=True,
            interval=self._settings.sweep_interval,
            metrics=self._metrics,
            now=self._now,
        )
        return Start([Fill(self._database, builder, heads.comment_id), check], check)

    @staticmethod
    def _where(tail: Tail, term: LeaseTerm) -> TailState:
        """Where a successor goes on. A relay need not publish what the store has been verified to hold."""
        backfilled = term.state.backfilled if tail.starting else HIGHEST_ID
        return replace(tail.state(), backfilled=backfilled)

    def _end(self, term: LeaseTerm) -> int:
        """The position after the last batch of this term; at its beginning, no number from there up was handed out."""
        return term.first if self._last_end is None else self._last_end

    def _wait(self) -> float:
        if self._leased.tail is None or self._position is None or self._paused:
            return 0.1
        return self._leased.tail.wait() if self._idle else 0.0


def batches(events: Iterable[Event], size: int) -> Iterator[list[Event]]:
    """Divide events into batches of about `size`, between two users: so a first fill shows each profile as a whole."""
    batch: list[Event] = []
    for event in events:
        if len(batch) >= size and event.user_id != batch[-1].user_id:
            yield batch
            batch = []
        batch.append(event)
    if batch:
        yield batch

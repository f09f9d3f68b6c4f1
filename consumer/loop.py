"""The consumer's loop.

1 poll the source;
2 where the assignment changed, ask the buckets where to start;
3 put what is no event among the dead letters;
4 apply the events, under fences that tie the buckets' positions to them;
5 note how far they reach;
6 about once a second: bring the positions of all other buckets there, then commit to the source.
Three things interrupt it: a server is unreachable (keep the batch, pause, go on polling), the store lost something
(start again from where the buckets stand), most of what arrives is no event (stop).
"""

import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from consumer.dead_letters.breaker import BadStreak
from consumer.dead_letters.dead_letters import DeadLetterError, DeadLetters
from consumer.losses import OTHER_RULES
from consumer.outage import prove_writable
from consumer.positions import Positions, list_buckets
from consumer.source import EMPTY, Batch, Invalid, OffsetOutOfRangeError, Source, SourceUnavailableError
from projections.errors import OperatorError
from projections.profile_key import bucket_of
from projections.projection import Projection
from projections.store.protocol import EpochError, PositionGapError, StoreUnavailableError
from projections.store.rollback import RollbackDetector
from snapshot.runtime.metrics import Metrics
from snapshot.runtime.throttle import ThrottledWarning

log = structlog.get_logger()

COMMIT_SECONDS = 1.0
BEHIND_EVENTS = 10_000
_REPEAT_COMMIT_SECONDS = 30.0


class _BatchGapError(Exception):
    """A batch does not begin where the last one ended; the text says which partition and how."""


class Loop:
    """One process' loop; `step` is called by one thread. `now` is a monotonic clock in seconds, `wall` since 1970.

    `before_reading` is called before partitions are read from where the buckets stand, so after each loss as well; it
    may raise StoreUnavailableError.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that the daemon wires
        self,
        source: Source,
        projection: Projection,
        dead_letters: DeadLetters,
        bad_streak: BadStreak,
        metrics: Metrics,
        now: Callable[[], float],
        *,
        detector: RollbackDetector | None = None,
        wall: Callable[[], float] = time.time,
        before_reading: Callable[[], object] = lambda: None,
    ) -> None:
        self._source = source
        self._projection = projection
        self._dead_letters = dead_letters
        self._bad_streak = bad_streak
        self._metrics = metrics
        self._now = now
        self._wall = wall
        self._before_reading = before_reading
        self._positions = Positions(projection.store, self._on_loss, detector)
        self._generation = 0
        self._pending: Batch | None = None
        self._oldest: int | None = None
        """The lowest revision of the last batch that had events: microseconds since 1970."""
        self._dead_lettered = 0
        self._applied = 0
        self._unavailable = False
        self.behind = False
        """Whether, at the last commit, so many events waited that the next state of many profiles is coming."""
        self.reason = ""
        """Why it is, or was last, `unavailable`."""
        self._outage = ThrottledWarning("nothing is consumed meanwhile", now)
        self._committed_at = now()
        self._committed: dict[str, int] = {}
        self._repeat_commit_at = now()

    def step(self, seconds: float) -> int:
        """Do one round, waiting at most so long for events; how many were applied.

        Raises OperatorError where going on would do harm.
        """
        before = self._applied
        self._guarded(lambda: self._round(seconds))
        return self._applied - before

    def finish(self) -> bool:
        """Commit now; whether everything that was there is in the store, and no bucket recovers."""
        found = False

        def finish() -> None:
            nonlocal found
            if self.caught_up():
                self.commit()
                found = self.caught_up()

        return self._guarded(finish) and found

    def _guarded(self, act: Callable[[], None]) -> bool:
        """Do it; False where it has to be repeated, later or from the start."""
        try:
            act()
        except (StoreUnavailableError, SourceUnavailableError, DeadLetterError) as error:
            self._enter_outage(str(error))
        except (EpochError, PositionGapError, OffsetOutOfRangeError, _BatchGapError) as error:
            log.warning("reading again from the stored positions", reason=str(error))
            self._restart()
        else:
            return True
        return False

    def _round(self, seconds: float) -> None:
        batch = self._source.poll(seconds)  # step 1
        if self._unavailable and self._generation and not self._positions.check():
            self._restart()  # it lost something while it was unreachable
        if self._assign():  # step 2
            batch = EMPTY  # of partitions that were another's, or from positions that hold no longer
        self._handle(batch)
        if self._unavailable:
            self._leave_outage()

    def _handle(self, batch: Batch) -> None:
        if batch is not EMPTY:
            # A paused source gives nothing, so nothing is pending then. If it did, `_refuse_gap` would find it.
            self._pending = batch
            self._oldest = min((event.revision for event in batch.events), default=self._oldest)
            self._dead_lettered = 0
        if self._pending is not None:
            self._take(self._pending)
        if self._now() - self._committed_at >= COMMIT_SECONDS:
            self.commit()  # step 6

    def _take(self, batch: Batch) -> None:
        self._refuse_gap(batch)
        if batch.invalid and not self._dead_lettered:
            self._keep_invalid(batch.invalid)  # step 3
        ends = {name: end for name, (_, end) in batch.intervals.items()}
        buckets = {bucket_of(event.user_id) for event in batch.events}
        applied = self._projection.apply(batch.events, self._positions.fences(buckets, ends))  # step 4
        self._positions.note_saved(buckets, ends)  # step 5
        self._positions.note_read(ends)
        self._pending = None
        self._applied += len(batch.events)
        self._metrics.count("signal_glaze.events_applied", len(batch.events))
        if applied.conflicts:
            self._metrics.count("signal_glaze.conflicts", applied.conflicts)
        if self._bad_streak.observe(len(batch.events), len(batch.invalid)):
            raise OperatorError(
                f"most of the last messages are no events (the last: {batch.invalid[-1].error}); they are among the "
                "dead letters; fix what publishes them, then start again"
            )

    def _keep_invalid(self, invalid: Sequence[Invalid]) -> None:
        """Once for each batch, however often the rest of it has to be retried."""
        self._dead_letters.send(invalid)
        self._dead_lettered = len(invalid)
        self._metrics.count("signal_glaze.events_invalid", len(invalid))
        for one in invalid:
            log.warning(
                "a message is no event and was put among the dead letters",
                topic=one.topic,
                partition=one.partition,
                offset=one.offset,
                reason=one.error,
            )

    def _refuse_gap(self, batch: Batch) -> None:
        """Refuse a batch that leaves something out: its positions would cover what was never applied."""
        for name, (start, _) in batch.intervals.items():
            read = self._positions.read.get(name)
            if read is None or start > read:
                raise _BatchGapError(f"a batch of {name} begins at {start}, and it was read up to {read}")

    def commit(self) -> None:
        """Bring every bucket to what was read, then commit to the source."""
        self._committed_at = self._now()
        self.behind = self._measure() >= BEHIND_EVENTS
        if not self._generation:
            return
        if not self._positions.check():
            self._restart()
            return
        ends = dict(self._positions.read)
        if ends != self._committed or self._now() >= self._repeat_commit_at:
            behind = self._positions.behind()
            self._projection.apply((), self._positions.fences(behind, ends))
            self._positions.note_saved(behind, ends)
            self._source.commit(ends)
            self._committed = ends
            self._repeat_commit_at = (
                self._now() + _REPEAT_COMMIT_SECONDS
            )  # the source does not report a commit that failed
        self._end_recoveries()

    def _measure(self) -> int:
        """Send how many events wait, and for how long, by the oldest one of the last batch; how many."""
        lag = sum(self._source.lag().values())
        waiting = lag > 0 or self._pending is not None
        seconds = max(0.0, self._wall() - self._oldest / 1e6) if waiting and self._oldest is not None else 0.0
        self._metrics.gauge("signal_glaze.lag", lag)
        self._metrics.gauge("signal_glaze.lag_seconds", round(seconds, 3))
        return lag

    def _end_recoveries(self) -> None:
        """Let buckets be published again that have reached what they had lost."""
        recovered = []
        for bucket, state, goal in self._positions.recovering():
            if state.reached(goal.ends) and not goal.reconcile and self._projection.store.recover(bucket, state, None):
                recovered.append(bucket)
        if recovered:
            log.info("recovered: the lost data is complete again", buckets=list_buckets(recovered))

    @property
    def progress(self) -> object:
        """Changes whenever anything is read, saved or recovered, here or by others."""
        return self._applied, self._source.progress, tuple(self._positions.read.items()), self._positions.writes

    @property
    def trouble(self) -> str | None:
        """Why nothing can be consumed at present."""
        return self.reason if self._unavailable else self._source.trouble

    def caught_up(self) -> bool:
        """Whether everything that was there is in the store, and committed."""
        reading = self._pending is None and not self._unavailable and bool(self._generation)
        return reading and self._source.exhausted() and not self.recovering

    @property
    def recovering(self) -> bool:
        """Whether any bucket recovers, so that nothing of it is flushed."""
        return any(self._positions.recovering())

    @property
    def unavailable(self) -> bool:
        """Whether the store, the source or the place for dead letters can't be reached at present."""
        return self._unavailable

    def _assign(self) -> bool:
        """Where the assignment changed: drop what is pending, start where the buckets stand; whether it did."""
        assignment = self._source.assignment()
        if assignment.generation == self._generation:
            return False
        self._pending = None
        self._before_reading()
        starts = self._positions.assign(lambda: self._source.offsets(assignment.partitions))
        self._projection.forget(self._positions.empty)
        self._source.start(assignment.generation, starts)
        self._generation = assignment.generation
        self._committed = {}
        return True

    def _restart(self) -> None:
        """Drop what is pending, and ask the buckets again where to start."""
        self._pending = None
        self._projection.forget()
        self._generation = 0

    def _on_loss(self, losses: Mapping[int, str]) -> None:
        facts = {"buckets": list_buckets(losses), "reasons": sorted(set(losses.values()))[:4]}
        lost = [reason for reason in losses.values() if not reason.startswith(OTHER_RULES)]
        if lost:
            self._metrics.count("signal_glaze.losses", len(lost))
            log.error(
                "Redis or Kafka lost data; rebuilding it; affected profiles are not published until then", **facts
            )
        else:
            log.warning("the rules of counting changed; recounting; profiles are not published until then", **facts)

    def _enter_outage(self, reason: str) -> None:
        """Go on polling without taking anything, so that the membership lives and memory stays bounded."""
        self.reason = reason
        self._outage.warn(reason)
        self._measure()
        if not self._unavailable:
            self._source.pause()
        self._unavailable = True

    def _leave_outage(self) -> None:
        """What raised has been done again, or it was a write that is not due again yet."""
        prove_writable(self._projection.store)
        self._source.resume()
        self._unavailable = False
        self._outage.resolved()

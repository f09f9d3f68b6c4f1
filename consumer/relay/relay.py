"""The relay: the tail's events published to Kafka.

1 renew the lease; 2 let the tail do a turn; 3 reserve a ceiling above its revisions; 4 publish and wait until all is
acknowledged; 5 about once a second, write to the store where a successor goes on. A crash between 4 and 5 repeats
events and loses none. Two relays on one store: one works, the other waits for the lease.
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import structlog
from msgspec.structs import replace

from consumer.outage import prove_writable
from consumer.relay.consumer_progress import ConsumerProgress, PublishedPositions
from consumer.relay.event_producer import EventDeliveryError, Sender
from consumer.tail.changes.blocked_deletions import DeletionGuard
from consumer.tail.changes.poll import Heads
from consumer.tail.leased_tail import LeasedTail
from consumer.tail.rows.event_builder import EventBuilder
from consumer.tail.session import LeaseTerm
from consumer.tail.startup.backfill import Backfill
from consumer.tail.startup.fill import Fill
from consumer.tail.state import TailSettings
from consumer.tail.tail import Start, StartupStage, Tail
from consumer.tail.verify.store_check import StoreCheck
from projections.comments.events import MAX_CLOCK_SKEW, Event
from projections.database.database import Database
from projections.profile_key import HIGHEST_ID
from projections.projection import Projection
from projections.store.protocol import StoreUnavailableError
from snapshot.kafka.messages import too_large
from snapshot.runtime.metrics import Metrics
from snapshot.runtime.progress import ProgressBar
from snapshot.runtime.throttle import ThrottledWarning

log = structlog.get_logger()

_SAVE_SECONDS = 1.0
_PAUSE = 0.5
_MAX_CLOCK_SKEW = MAX_CLOCK_SKEW - 60_000_000
"""Less than consumers accept: their clocks are not this machine's."""


class ClockSkewError(Exception):
    """Consumers would refuse these revisions."""


class Relay:
    """One relay; `step` is called by one thread.

    `backfill`: publish the whole history, even if it was published before. `ends`, `timeout`: see `ConsumerProgress`.
    """

    def __init__(  # noqa: PLR0913 - the parts that the command wires
        self,
        projection: Projection,
        database: Database,
        sender: Sender,
        ends: Callable[[], Mapping[str, int] | None],
        settings: TailSettings,
        *,
        backfill: bool = False,
        timeout: float | None = None,
        metrics: Metrics,
        progress: Callable[[], AbstractContextManager[ProgressBar]],
        token: str | None = None,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = lambda: time.time_ns() // 1_000,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._projection = projection
        self._database = database
        self._sender = sender
        self._ends = ends
        self._settings = settings
        self._repeat_backfill = backfill
        self._timeout = timeout
        self._metrics = metrics
        self._progress = progress
        self._now = now
        self._wall = wall
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
        self._unsent = ThrottledWarning("Kafka doesn't take the events; trying again", now)
        self._clock_skew = ThrottledWarning("nothing is published: consumers would refuse it", now)
        self._store_down = ThrottledWarning("the store is unreachable; nothing is published meanwhile", now)
        self._batch = settings.batch
        self._backfill: Backfill | None = None
        self._unavailable = False
        self._total = 0
        self._forget()

    def _forget(self) -> None:
        if self._backfill is not None:
            self._backfill.close()
        self._backfill = None
        self._pending: list[Event] = []
        self._saved_at = self._now()

    # ------------------------------------------------------------------------------------------------------ working

    def step(self, seconds: float) -> int:
        """Do one piece of work, or wait at most so long for some; how many events were published."""
        self._unavailable = False
        try:
            tail = self._open() if self._leased.renew() else None  # step 1
            if self._store_down.reason is not None:
                prove_writable(self._projection.store)
                self._store_down.resolved()
            published = None if tail is None else self._work(self._leased.begin(), tail, seconds)
        except StoreUnavailableError as error:
            self._unavailable = True
            self._store_down.warn(str(error))
            published = None
        except EventDeliveryError as error:
            self._unsent.warn(str(error))
            published = None
        except ClockSkewError as error:
            self._clock_skew.warn(str(error))
            self._leased.restart()  # revisions that were never sent don't count: the next begin at the clock again
            published = None
        if published is None:
            self._sleep(min(seconds, _PAUSE))
        return published or 0

    @property
    def progress(self) -> object:
        """Changes whenever anything is read or published."""
        return self._leased.progress, self._total

    @property
    def blocked(self) -> Mapping[str, str]:
        """What the deletion guard blocks, by who asked it."""
        return self._leased.blocked

    @property
    def trouble(self) -> str | None:
        """Why nothing can be read or published at present."""
        warnings = (self._store_down, self._unsent, self._clock_skew)
        return next((one.reason for one in warnings if one.reason), self._leased.trouble)

    @property
    def unavailable(self) -> bool:
        """Whether the store could not be reached in the last step."""
        return self._unavailable or self._leased.lease.unavailable

    def _open(self) -> Tail | None:
        if self._leased.tail is None:
            self._sender.begin()
            self._published = PublishedPositions(self._leased.begin().state.positions)
            if (tail := self._leased.open()) is not None:
                self._save(tail)
        return self._leased.tail

    def _work(self, term: LeaseTerm, tail: Tail, seconds: float) -> int:
        idle = False
        if not self._pending:
            found = tail.turn()  # step 2
            idle = found is None
            self._pending = found or []
        published = self._publish(term)  # steps 3 and 4
        if self._leased.lease.just_renewed or self._now() - self._saved_at >= _SAVE_SECONDS:
            self._save(tail)  # step 5
        if idle:
            self._sleep(min(seconds, tail.wait()))
        return published

    def _publish(self, term: LeaseTerm) -> int:
        published = 0
        while self._pending:
            part = self._pending[: self._batch]
            self._check_clock(term.revisions.last)
            if not self._leased.lease.renew() or not term.reserve():
                break  # the next step begins another term, from what was saved
            self._send(part)
            self._pending = self._pending[len(part) :]
            self._metrics.count("signal_glaze.events_published", len(part))
            published += len(part)
            self._total += len(part)
        return published

    def _check_clock(self, revision: int) -> None:
        ahead = revision - self._wall()
        if ahead > _MAX_CLOCK_SKEW:
            raise ClockSkewError(
                f"the database's clock is, or was, {ahead // 1_000_000} s ahead of this machine's; set the wrong one "
                "right; if both are right by now, publishing resumes by itself after so long"
            )
        self._clock_skew.resolved()

    def _send(self, events: Sequence[Event]) -> None:
        try:
            self._sender.send(events)
        except EventDeliveryError as error:
            if not too_large(error.__cause__):
                self._batch = max(1, self._batch // 2)  # a slow line may carry fewer in the time that there is
                raise
            self._send_divided(events, error)
        self._batch = min(self._settings.batch, self._batch * 2)
        self._unsent.resolved()

    def _send_divided(self, events: Sequence[Event], error: EventDeliveryError) -> None:
        """Leave out what Kafka will never take, and log it: it would block everything that comes after it."""
        if len(events) > 1:
            middle = len(events) // 2
            for half in (events[:middle], events[middle:]):
                self._send(half)
            return
        log.error(
            "a comment is too large for Kafka and is left out; snapshot-rebuild brings it into its profile",
            comment_id=events[0].comment_id,
            user_id=events[0].user_id,
            reason=str(error),
        )

    def _save(self, tail: Tail) -> None:
        """Write where a successor goes on; everything that the tail gave so far is acknowledged."""
        if self._pending:
            return
        self._saved_at = self._now()
        cursor = HIGHEST_ID if self._backfill is None else self._backfill.cursor
        positions = self._published.positions(self._sender.ends)
        term = self._leased.begin()
        term.save(replace(tail.state(), backfilled=cursor, positions=positions, position=term.state.position))
        self._leased.rescan()

    # ------------------------------------------------------------------------------------------------------ the start

    def _start(self, builder: EventBuilder, guard: DeletionGuard, heads: Heads) -> Start:
        """A first start publishes the history. A later one ends that, and compares the store with the rows."""
        before = self._leased.begin().before
        cursor = -1 if before is None or self._repeat_backfill else before.backfilled
        empty_store = before is None and not self._repeat_backfill
        self._repeat_backfill = False
        stages: list[StartupStage] = []
        if cursor < HIGHEST_ID:
            self._backfill = Backfill(
                self._database, builder, cursor, self._progress, head=heads.comment_id, empty_store=empty_store
            )
            stages.append(self._backfill)
        check = self._check(builder, guard, first_pass=before is not None)
        if before is not None:
            stages += [Fill(self._database, builder, heads.comment_id), check]
        return Start(stages, check)

    def _check(self, builder: EventBuilder, guard: DeletionGuard, *, first_pass: bool) -> StoreCheck:
        progress = ConsumerProgress(
            self._projection.store,
            self._ends,
            lambda: self._published.positions(self._sender.ends),
            self._now,
            self._timeout,
            seen=self._published.ends_are,
        )
        return StoreCheck(
            self._projection,
            self._database,
            builder,
            guard,
            progress,
            first_pass=first_pass,
            interval=self._settings.sweep_interval,
            metrics=self._metrics,
            now=self._now,
        )

    # ---------------------------------------------------------------------------------------------------------- ends

    def caught_up(self) -> bool:
        """Whether everything that was committed when this was first asked is published, or blocked.

        Where another relay works: whether its document says so.
        """
        try:
            return not self._pending and self._leased.caught_up()
        except StoreUnavailableError:
            return False

    def close(self) -> None:
        """Write where a successor goes on, and let it."""
        self._leased.close(lambda: None if self._leased.tail is None else self._save(self._leased.tail))

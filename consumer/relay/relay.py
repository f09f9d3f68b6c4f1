"""The relay: the tail's events published to Kafka.

1 hold the lease; 2 let the tail do a turn; 3 reserve a ceiling above its revisions; 4 publish and wait until all is
acknowledged; 5 about once a second, note in the store where a successor goes on. A crash between 4 and 5 repeats
events and loses none. Two relays on one store: one works, the other waits for the lease.
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import structlog
from msgspec.structs import replace

from consumer.relay.consumer_progress import Followers, Reached
from consumer.relay.event_producer import EventDeliveryError, Sender
from consumer.tail.changes.blocked_deletions import Brake
from consumer.tail.changes.poll import Heads
from consumer.tail.lease import TailLease
from consumer.tail.rows.event_builder import Publisher
from consumer.tail.session import Session
from consumer.tail.startup.backfill import Backfill
from consumer.tail.startup.fill import Filling
from consumer.tail.startup.verify import Verification
from consumer.tail.state import HIGHEST_ID, TailSettings
from consumer.tail.tail import UNREADABLE, Stage, Tail, open_tail
from projections.comments.events import LEAD, Event
from projections.database.database import Database, DatabaseUnavailable
from projections.errors import OperatorError
from projections.projection import Projection
from projections.store.protocol import StoreUnavailableError
from snapshot.kafka.producer import too_large
from snapshot.runtime.metrics import Metrics
from snapshot.runtime.progress import Meter
from snapshot.runtime.throttle import Complaint

log = structlog.get_logger()

_SAVE_SECONDS = 1.0
_PAUSE = 0.5
_LEAD = LEAD - 60_000_000
"""Less than consumers take: their clocks are not this machine's."""


class _EarlyError(Exception):
    """Consumers would refuse these revisions."""


class Relay:
    """One relay; `step` is called by one thread. `backfill`: publish the whole history, whoever did so before."""

    def __init__(  # noqa: PLR0913 - the parts that the command wires
        self,
        projection: Projection,
        database: Database,
        sender: Sender,
        ends: Callable[[], Mapping[str, int]],
        settings: TailSettings,
        *,
        backfill: bool = False,
        patience: float | None = None,
        metrics: Metrics,
        meter: Callable[[], AbstractContextManager[Meter]],
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
        self._again = backfill
        self._patience = patience
        self._metrics = metrics
        self._meter = meter
        self._now = now
        self._wall = wall
        self._sleep = sleep
        self._lease = TailLease(projection.store, token or secrets.token_hex(8), settings.lease, now)
        self._unreadable = Complaint(UNREADABLE, now)
        self._unsent = Complaint("Kafka doesn't take the events; trying again", now)
        self._early = Complaint("nothing is published: consumers would refuse it", now)
        self._storeless = Complaint("the store can't be reached; nothing is published meanwhile", now)
        self._batch = settings.batch
        self._backfill: Backfill | None = None
        self._working: bool | None = None
        self._asked: int | None = None
        self._away = False
        self._forget()

    def _forget(self) -> None:
        if self._backfill is not None:
            self._backfill.close()
        self._session: Session | None = None
        self._tail: Tail | None = None
        self._backfill = None
        self._pending: list[Event] = []
        self._saved_at = self._now()

    # ------------------------------------------------------------------------------------------------------ working

    def step(self, seconds: float) -> int:
        """Do one piece of work, or wait at most so long for some; how many events were published."""
        self._away = False
        try:
            published = self._step(seconds)
        except StoreUnavailableError as error:
            self._away = True
            self._storeless.say(str(error))
        except EventDeliveryError as error:
            self._unsent.say(str(error))
        except _EarlyError as error:
            self._early.say(str(error))
            self._forget()  # revisions that were never sent don't count: the next begin at the clock again
        except (DatabaseUnavailable, OperatorError) as error:
            self._unreadable.say(str(error))
        else:
            self._storeless.over()
            return published
        self._sleep(min(seconds, _PAUSE))
        return 0

    @property
    def away(self) -> bool:
        """Whether the store could not be reached in the last step."""
        return self._away or self._lease.away

    def _step(self, seconds: float) -> int:
        if not self._hold():  # step 1
            self._sleep(min(seconds, _PAUSE))
            return 0
        session = self._session = self._session or Session(self._lease, self._database.clock)
        tail = self._tail = self._tail or self._opened(session)
        idle = False
        if not self._pending:
            found = tail.turn()  # step 2
            idle = found is None
            self._pending = found or []
        published = self._publish(session)  # steps 3 and 4
        if self._lease.renewed or self._now() - self._saved_at >= _SAVE_SECONDS:
            self._save(session, tail)  # step 5
        if idle:
            self._sleep(min(seconds, tail.wait()))
        return published

    def _hold(self) -> bool:
        held = self._lease.hold()
        if held != self._working:
            self._working = held
            self._forget()
            self._lease.tell()
        return held

    def _publish(self, session: Session) -> int:
        published = 0
        while self._pending:
            part = self._pending[: self._batch]
            self._check_clock(session.revisions.last)
            if not self._lease.hold() or not session.reserve():
                break  # the next step begins anew, from what was saved
            self._send(part)
            self._pending = self._pending[len(part) :]
            self._metrics.count("signal_glaze.events_published", len(part))
            published += len(part)
        return published

    def _check_clock(self, revision: int) -> None:
        ahead = revision - self._wall()
        if ahead > _LEAD:
            raise _EarlyError(
                f"the database's clock is, or was, {ahead // 1_000_000} s ahead of this machine's; set the one that is "
                "wrong right; where both are right by now, it goes on by itself after so long"
            )
        self._early.over()

    def _send(self, events: Sequence[Event]) -> None:
        try:
            self._sender.send(events)
        except EventDeliveryError as error:
            if not too_large(error.__cause__):
                self._batch = max(1, self._batch // 2)  # a slow line may take fewer in the time that there is
                raise
            self._send_divided(events, error)
        self._batch = min(self._settings.batch, self._batch * 2)
        self._unsent.over()

    def _send_divided(self, events: Sequence[Event], error: EventDeliveryError) -> None:
        """Pass over what Kafka will never take, and say so: it would hold up everything that comes after it."""
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

    def _save(self, session: Session, tail: Tail) -> None:
        """Note where a successor goes on; everything that the tail gave so far is acknowledged."""
        if self._pending:
            return
        self._saved_at = self._now()
        cursor = HIGHEST_ID if self._backfill is None else self._backfill.cursor
        positions = self._reached.positions(self._sender.ends)
        session.put(replace(tail.state(), backfilled=cursor), positions, session.state.position)
        session.save()
        if session.second_look.wanted(tail):
            self._forget()

    # ------------------------------------------------------------------------------------------------------ the start

    def _opened(self, session: Session) -> Tail:
        self._sender.begin()
        self._reached = Reached(session.state.positions)
        tail = open_tail(
            self._database,
            session.before,
            session.revisions,
            self._stages,
            self._settings,
            metrics=self._metrics,
            now=self._now,
        )
        self._unreadable.over()
        self._save(session, tail)
        return tail

    def _stages(self, publisher: Publisher, brake: Brake, heads: Heads) -> list[Stage]:
        """A first start publishes the history. A later one ends that, and compares the store with the rows."""
        assert self._session is not None  # noqa: S101 - the tail is opened in a session
        before = self._session.before
        cursor = -1 if before is None or self._again else before.backfilled
        pristine = before is None and not self._again
        self._again = False
        stages: list[Stage] = []
        if cursor < HIGHEST_ID:
            self._backfill = Backfill(
                self._database, publisher, cursor, self._meter, head=heads.comment_id, pristine=pristine
            )
            stages.append(self._backfill)
        if before is not None:
            followers = Followers(
                self._projection.store, self._ends, self._now, self._patience, seen=self._reached.ends_are
            )
            stages += [
                Filling(self._database, publisher.memory, heads.comment_id),
                Verification(
                    self._projection, self._database, publisher, brake, ready=followers.ready, in_process=False
                ),
            ]
        return stages

    # ---------------------------------------------------------------------------------------------------------- ends

    def caught_up(self) -> bool:
        """Whether everything that was committed when this was first asked is published, or held back.

        Where another relay works: whether its document says so.
        """
        try:
            if self._asked is None:
                self._asked = self._database.clock()
            if self._working:
                return self._tail is not None and not self._pending and self._tail.caught_up(self._asked)
            found = None if self._working is None else self._lease.load()
        except (DatabaseUnavailable, OperatorError, StoreUnavailableError):
            return False
        return found is not None and min(found.polled_until, found.swept_until) >= self._asked

    def close(self) -> None:
        """Note where a successor goes on, and let it."""
        try:
            if self._working and self._lease.held:
                if self._session is not None and self._tail is not None:
                    self._save(self._session, self._tail)
                if self._session is not None:
                    self._session.end()
                self._lease.release()
        except StoreUnavailableError as error:
            log.warning("the lease of the tail could not be given up; it runs out", reason=str(error))
        self._working = None
        self._forget()

"""The tail of the process that holds the lease: what the relay and the in-process source have in common."""

from collections.abc import Callable, Mapping

import structlog

from consumer.tail.changes.blocked_deletions import DeletionGuard
from consumer.tail.changes.poll import Heads
from consumer.tail.lease import TailLease
from consumer.tail.rows.event_builder import EventBuilder
from consumer.tail.session import LeaseTerm
from consumer.tail.state import TailSettings
from consumer.tail.tail import UNREADABLE, Start, Tail, open_tail
from projections.database.database import Database, DatabaseUnavailableError
from projections.errors import OperatorError
from projections.store.protocol import Store, StoreUnavailableError
from snapshot.runtime.metrics import Gauge, Metrics
from snapshot.runtime.throttle import ThrottledWarning

log = structlog.get_logger()

_OF_THE_HOLDER: tuple[Gauge, ...] = (
    "signal_glaze.gaps",
    "signal_glaze.blocked_deletions",
    "signal_glaze.sweep_round_seconds",
)
StartFactory = Callable[[EventBuilder, DeletionGuard, Heads], Start]


class LeasedTail:
    """A tail for as long as the lease is held; with each term of the lease, and each re-scan, another one.

    `start` gives the work of a start; `forgotten` is called when nothing that is known holds any longer, because
    another tail may have worked meanwhile. Raises StoreUnavailableError, but for `renew` and `close`.
    """

    def __init__(  # noqa: PLR0913 - seams
        self,
        store: Store,
        database: Database,
        settings: TailSettings,
        start: StartFactory,
        *,
        forgotten: Callable[[], object],
        metrics: Metrics,
        token: str,
        now: Callable[[], float],
    ) -> None:
        self._database = database
        self._settings = settings
        self._start = start
        self._forgotten = forgotten
        self._metrics = metrics
        self._now = now
        self.lease = TailLease(store, token, settings.lease, now)
        self._unreadable = ThrottledWarning(UNREADABLE, now)
        self._retry_at = now()
        self._asked_at: int | None = None
        self._caught_up = False
        self._other: object = None  # how far the tail of another process is
        self._term_number: int | None = None
        self.generation = 0
        """Grows whenever everything was forgotten; 0: the lease was not asked for yet."""
        self.term: LeaseTerm | None = None
        self.tail: Tail | None = None

    @property
    def working(self) -> bool:
        """Whether the lease was held at the last renewal."""
        return bool(self._term_number)

    def renew(self) -> bool:
        """Renew the lease if that is due; whether it is ours."""
        held = self.lease.renew()
        number = self.lease.terms if held else 0
        if held:
            self._metrics.gauge("signal_glaze.blocked_deletions", len(self.blocked))
        elif self.working:  # lost: what it knew is another's to say
            for name in _OF_THE_HOLDER:
                self._metrics.gauge(name, 0)
        if number != self._term_number:
            self._term_number = number
            self.restart()
            self.lease.log_holder()
        return held

    def restart(self) -> None:
        """Forget the term and the tail; what comes next begins with the document in the store."""
        self.generation += 1
        self.term = self.tail = None
        self._caught_up = False
        self._forgotten()

    def begin(self) -> LeaseTerm:
        """Go on from what the last holder left."""
        self.term = self.term or LeaseTerm(self.lease, self._database.clock)
        return self.term

    def open(self) -> Tail | None:
        """Open the tail, unless it is open; None while the database can't be read."""
        term = self.begin()
        if self.tail is None and self._now() >= self._retry_at:
            try:
                self.tail = open_tail(
                    self._database,
                    term.before,
                    term.revisions,
                    self._start,
                    self._settings,
                    begin_poll=term.begin_poll,
                    metrics=self._metrics,
                    now=self._now,
                )
            except (DatabaseUnavailableError, OperatorError) as error:
                self._retry_at = self._now() + self._settings.poll_interval
                self._unreadable.warn(str(error))
            else:
                self._unreadable.resolved()
        return self.tail

    def rescan(self) -> bool:
        """Start over if that may settle what is blocked; nothing may be on its way to the store."""
        if self.term is None or self.tail is None or not self.term.rescan.due(self.tail):
            return False
        self.restart()
        return True

    def caught_up(self) -> bool:
        """Whether everything committed when this was first asked has been handed out, or is blocked.

        Where another process holds the lease: whether its document says so.
        """
        if self.working:
            if self.tail is None:
                return False
            if self._asked_at is None:
                self._asked_at = self.tail.last_poll
            return self._note(self.tail.caught_up(self._asked_at))
        found = self.lease.load() if self.generation else None
        self._other = found and (found.ceiling, found.polled_until, found.swept_until)
        if found is None:
            return False
        if self._asked_at is None:
            self._asked_at = found.begun_until
        return self._note(min(found.polled_until, max(found.swept_until, found.read_until)) > self._asked_at)

    def _note(self, caught_up: bool) -> bool:  # noqa: FBT001 - handed through
        self._caught_up = self._caught_up or caught_up
        return caught_up

    @property
    def progress(self) -> object:
        """Changes whenever this tail, or that of another process, gets on, until it has caught up: it never ends."""
        return self.generation, None if self._caught_up else (self.tail and self.tail.turns, self._other)

    @property
    def blocked(self) -> Mapping[str, str]:
        """What the deletion guard blocks, by who asked it."""
        return {} if self.tail is None else self.tail.blocked

    @property
    def trouble(self) -> str | None:
        """Why the database can't be read at present."""
        return self._unreadable.reason or (None if self.tail is None else self.tail.trouble)

    def close(self, save: Callable[[], object] = lambda: None) -> None:
        """Leave at once, so that others can take over; `save` writes where they go on."""
        try:
            if self.working and self.lease.held:
                save()
                if self.term is not None:
                    self.term.end()
                self.lease.release()
        except StoreUnavailableError as error:
            log.warning("the lease of the tail could not be released; it expires", reason=str(error))
        self._term_number = 0
        self.restart()

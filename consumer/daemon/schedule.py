"""The nightly run inside the daemon: one of several daemons does it, a killed one is replaced, a missed run is made up.

Due when the last completed run is older than the last scheduled time. Its time is a document in the store, written
under the lease of the same name; the holder of the lease runs, and renews it meanwhile.
"""

import secrets
import threading
from collections.abc import Callable
from datetime import datetime

import msgspec
import structlog
from cronsim import CronSim, CronSimError

from projections.decoding import JsonDecoder
from projections.errors import DatabaseUnavailableError, OperatorError
from projections.store.protocol import Store, StoreUnavailableError

log = structlog.get_logger()

NIGHTLY = "nightly"
"""Name of the lease and of the document with the last completed run."""
DEFAULT = "5 4 * * *"

_FIELDS = 5
_LEASE_SECONDS = 30.0
_RETRY_SECONDS = 300.0
_RETRY = int(_RETRY_SECONDS * 1e6)


class _LastRun(msgspec.Struct):
    """The document: when the last run that was completed had begun, in microseconds of the store's clock."""

    done: int


_decode = JsonDecoder(_LastRun).decode
_encode = msgspec.json.Encoder().encode


def _is_ahead(run: _LastRun, now: int) -> bool:
    """Whether it can't be: then the clock was set back since, and no scheduled time would pass it for long."""
    return run.done > now + _RETRY


class Schedule:
    """A cron expression, in the time zone of this system (TZ, else /etc/localtime), as cron itself reads it."""

    def __init__(self, expression: str) -> None:
        """Raise OperatorError for what is no valid cron expression of five fields, or never comes."""
        self._expression = expression
        try:
            found = next(CronSim(expression, datetime(2000, 1, 1)), None)  # noqa: DTZ001 - see `last`
            reason = "that day never comes" if found is None else ""
        except CronSimError as error:
            reason = str(error)
        if len(expression.split()) != _FIELDS:
            reason = "it does not have five fields"
        if reason:
            raise OperatorError(
                f"SNAPSHOT_SCHEDULE={expression!r} is not a valid cron expression ({reason}); "
                f"write minute, hour, day, month and weekday, as in {DEFAULT!r}"
            )

    def last(self, now: int) -> int:
        """The latest scheduled time that is not after `now`; both in microseconds since 1970.

        A time that a change of the clocks leaves out comes as much later; one that comes twice counts the first time.
        """
        # Without a zone: the library then counts on the face of the clock, and `timestamp` does what the system does.
        # The one microsecond makes the present second count: the library looks strictly backwards.
        local = datetime.fromtimestamp(now // 1_000_000).replace(microsecond=1)  # noqa: DTZ006 - just that
        times = (int(face.timestamp()) * 1_000_000 for face in CronSim(self._expression, local, reverse=True))
        # Just after the clocks changed, a time that was left out is past by their face and yet to come.
        return next(time for time in times if time <= now)


class Nightly:
    """Runs `run` when it is due. `tick` is called about once a second by the daemon, by one thread.

    `run` gets an event that is set when it should end early: the lease was lost, or the daemon stops. A run that
    raises is logged, and retried after five minutes. The very first start only notes the time: the daemon fills
    its store itself then, and the first run is at the next scheduled time.
    """

    def __init__(
        self,
        store: Store,
        schedule: Schedule,
        run: Callable[[threading.Event], None],
        *,
        lease: float = _LEASE_SECONDS,
        token: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._store = store
        self._schedule = schedule
        self._run = run
        self._lease = lease
        self._token = token()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._not_before = 0

    def tick(self) -> None:
        """Begin the run where it is due and nobody else does it."""
        if not self.wait(0):
            return
        try:
            now = self._store.clock()
            if not now < self._not_before <= now + _RETRY and self._due(now) and self._take(now):
                self._stopping.clear()
                self._thread = threading.Thread(target=self._work, args=(now,), name=NIGHTLY, daemon=True)
                self._thread.start()
        except StoreUnavailableError:
            return  # the next tick retries

    def wait(self, timeout: float) -> bool:
        """Wait at most so many seconds for a run to end; whether none is running."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def close(self, timeout: float) -> bool:
        """Ask a run to end, and wait at most so many seconds for it; whether it did."""
        self._stopping.set()
        return self.wait(timeout)

    def _due(self, now: int) -> bool:
        last = self._last_run()
        return last is None or last.done < self._schedule.last(now) or _is_ahead(last, now)

    def _last_run(self) -> _LastRun | None:
        document = self._store.document(NIGHTLY)
        try:
            return None if document is None else _decode(document)
        except msgspec.DecodeError:
            return None  # not written by us: as if there were none

    def _take(self, now: int) -> bool:
        """Whether this daemon took the lease, and the run is still due: another may just have completed it."""
        if not self._store.lease(NIGHTLY, self._token, self._lease):
            return False
        last = self._last_run()
        if last is not None and self._due(now):
            return True
        if last is None:
            self._store.put_document(NIGHTLY, self._token, _encode(_LastRun(now)))
        self._store.release(NIGHTLY, self._token)
        return False

    def _work(self, began: int) -> None:
        ended = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(ended,), name=f"{NIGHTLY} lease", daemon=True)
        keeper.start()
        try:
            log.info("the nightly run starts")
            self._run(self._stopping)
            if not self._stopping.is_set():
                self._done(began)
        except (OperatorError, DatabaseUnavailableError, StoreUnavailableError) as error:
            self._not_before = began + _RETRY
            log.warning("the nightly run failed; retrying", reason=str(error), seconds=_RETRY_SECONDS)
        except Exception:  # a bug in it must not end the daemon
            self._not_before = began + _RETRY
            log.exception("the nightly run failed; retrying", seconds=_RETRY_SECONDS)
        finally:
            ended.set()
            keeper.join()
            self._release()

    def _keep(self, ended: threading.Event) -> None:
        """Renew the lease until the run has ended; a lost one ends the run, as another daemon does it now."""
        while not ended.wait(self._lease / 3):
            try:
                if not self._store.lease(NIGHTLY, self._token, self._lease):
                    self._stopping.set()
                    return
            except StoreUnavailableError:
                continue  # the run meets it too, and fails by itself

    def _done(self, began: int) -> None:
        before = self._last_run()
        done = began
        if before is not None and not _is_ahead(before, self._store.clock()):
            done = max(began, before.done)  # another may have run meanwhile, and later
        if self._store.put_document(NIGHTLY, self._token, _encode(_LastRun(done))):
            log.info("the nightly run is complete")
        else:
            log.warning("the nightly run was taken over by another daemon before it ended")

    def _release(self) -> None:
        try:
            self._store.release(NIGHTLY, self._token)
        except StoreUnavailableError:
            return  # it expires by itself

"""The daemon: the one place where the parts of `snapshot-consumer` are wired.

The loop runs in the calling thread, the other workers in threads of their own; several daemons may share one store.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial

import structlog

from consumer.daemon.downstream import announced_hashes
from consumer.daemon.flush_worker import FlushWorker
from consumer.daemon.recovery import RecoveryWorker
from consumer.daemon.schedule import Nightly, Schedule
from consumer.daemon.settings import DaemonSettings, Summary
from consumer.daemon.worker import Worker
from consumer.dead_letters.breaker import BadStreak
from consumer.dead_letters.dead_letters import DeadLetters
from consumer.dead_letters.file import FILE_NAME, FileDeadLetters
from consumer.dead_letters.kafka import KafkaDeadLetters
from consumer.kafka.options import SourceOptions
from consumer.kafka.source import KafkaSource
from consumer.kafka.topics import ensure_topics
from consumer.loop import Loop
from consumer.process import alive_files
from consumer.process.limit import ProgressLimit
from consumer.process.liveness import Liveness, watched
from consumer.process.narration import Figures, Narration
from consumer.process.presence import Activity, Presence, first_failures
from consumer.source import Source
from consumer.tail.source import DatabaseTail
from projections.database.database import Database, DatabaseUnavailableError, open_databases
from projections.errors import OperatorError
from projections.projection import Projection
from projections.remembered.analyses_seen import SeenAnywhere, SeenInStore
from projections.remembered.forgotten import BlockedAnywhere
from projections.store.known_profiles import KnownProfiles
from projections.store.protocol import Store, StoreUnavailableError
from projections.store.rollback import RollbackDetector
from snapshot.cli.groups import refuse_unknown_group
from snapshot.cli.resources import ANNOUNCEMENTS, make_storage, open_announcer, open_store
from snapshot.files.folder import open_folder
from snapshot.files.marker import BlockedInMarker, SeenInMarker
from snapshot.files.places import note_place
from snapshot.flush.flusher import Flusher
from snapshot.flush.scrub import Scrub
from snapshot.kafka.producer import Producer
from snapshot.runtime.metrics import Metrics

log = structlog.get_logger()

POLL_SECONDS = 0.5
FLUSHER, RECOVERY = "flusher", "recovery"
_DEAD_LETTER_SECONDS = 10.0
_DATABASE_TIMEOUT = 2.0
_SHUTDOWN_SECONDS = 3.0
_TICK_SECONDS = 1.0
_FAILURES = 3


class Daemon:
    """A wired consumer. `stop` ends it from another thread."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that `open_daemon` wires
        self,
        loop: Loop,
        source: Source,
        flush_worker: FlushWorker,
        recovery_worker: RecoveryWorker,
        nightly: Nightly | None,
        liveness: Liveness,
        blocked: BlockedAnywhere,
        store: Store,
    ) -> None:
        self._loop = loop
        self._source = source
        self._flush_worker = flush_worker
        self._recovery_worker = recovery_worker
        steps = {FLUSHER: flush_worker.step, RECOVERY: recovery_worker.step}
        self._workers = {name: Worker(name, step, liveness) for name, step in steps.items()}
        self._nightly = nightly
        self._liveness = liveness
        self._blocked = blocked
        self._events = 0
        self._presence = Presence(store, "snapshot-consumer", self._activity)
        self.narration = Narration("snapshot-consumer", self._figures, self._caught_up)
        self._limit = ProgressLimit()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End after the present step."""
        self._stopping.set()

    def run(self, restart_embedded_redis: Callable[[], None], *, until_caught_up: bool) -> Summary:
        """Consume and flush until stopped, or until nothing is left to do.

        Raises OperatorError where going on would do harm; `until_caught_up`, also where it would lead nowhere.
        """
        for worker in self._workers.values():
            worker.start()
        ticked = 0.0
        try:
            while not self._stopping.is_set():
                if applied := self._loop.step(POLL_SECONDS):
                    self._events += applied
                    self._flush_worker.saved(self._workers[FLUSHER].wake)
                self._raise_worker_errors()
                if self._loop.unavailable:
                    restart_embedded_redis()
                else:
                    self._presence.renew()
                    self.narration.step()
                with suppress(StoreUnavailableError):
                    self._blocked.get()  # the folder remembers them, and a store that was lost learns them again
                self._liveness.heartbeat()
                if self._nightly is not None and time.monotonic() - ticked >= _TICK_SECONDS:
                    self._nightly.tick()
                    ticked = time.monotonic()
                if until_caught_up and self._done():
                    break
        finally:
            self._end()
        self._raise_worker_errors()
        return Summary(self._events, self._flush_worker.flushed)

    def _figures(self) -> Figures:
        flushed = self._flush_worker.flushed
        done = {"written": flushed.written, "removed": flushed.removed, "announced": flushed.announced}
        return {"events": self._events, **done, "failed": flushed.failed}

    def _caught_up(self) -> bool:
        """Whether all that was there when this was first asked is in the store, and nothing waits for its file."""
        with suppress(StoreUnavailableError):
            return self._loop.finish() and not self._flush_worker.waiting()
        return False

    def _activity(self) -> Activity:
        worker = self._flush_worker
        troubles = (self._loop.trouble, self._recovery_worker.trouble, worker.trouble)
        return Activity(
            events=self._events,
            flushes=worker.flushed.claims,
            troubles=[one for one in troubles if one is not None],
            failed=first_failures(worker.failed),
            failures=len(worker.failed),
            blocked=dict(self._source.blocked) if isinstance(self._source, DatabaseTail) else {},
        )

    def _done(self) -> bool:
        self._give_up()
        try:
            if not self._loop.finish():
                if self._loop.recovering:
                    self._flush_worker.ask_again()
                return False
            self._flush_worker.refuse_failures(_FAILURES)
            return self._flush_worker.idle()
        except StoreUnavailableError:
            return False

    def _give_up(self) -> None:
        """A run that is to end does not wait for ever, whatever it waits for."""
        recovery = self._recovery_worker
        if recovery.failures >= _FAILURES and recovery.trouble is not None:
            raise OperatorError(recovery.trouble)
        trouble = self._loop.trouble or recovery.trouble or self._flush_worker.trouble
        self._limit.check((self._loop.progress, recovery.pages, self._flush_worker.progress), trouble)

    def _raise_worker_errors(self) -> None:
        for worker in self._workers.values():
            if worker.error is not None:
                raise worker.error

    def _end(self) -> None:
        for worker in self._workers.values():
            worker.stop()
        if not self._loop.unavailable:
            self._presence.close()
        try:
            if not self._loop.unavailable:
                self._loop.commit()
        except Exception as error:  # noqa: BLE001 - the end goes on: what is not committed is read again
            log.warning("the last positions could not be committed; they are read again", reason=str(error))
        try:
            self._source.close()
        except Exception as error:  # noqa: BLE001 - the end goes on: others take over when the membership runs out
            log.warning("closing the source failed; others take over after a timeout", reason=str(error))
        deadline = time.monotonic() + _SHUTDOWN_SECONDS
        if self._nightly is not None:
            self._nightly.close(_SHUTDOWN_SECONDS)
        for worker in self._workers.values():
            worker.join(max(0.0, deadline - time.monotonic()))
        self._liveness.close()
        self.narration.end()


@contextmanager
def open_daemon(settings: DaemonSettings, metrics: Metrics) -> Iterator[tuple[Daemon, Callable[[], None]]]:
    """Wire a daemon; gives it with what restarts an embedded Redis. Raises OperatorError for whatever is in the way."""
    with ExitStack() as stack:
        files = settings.files
        make_storage(files)
        alive_files.remove_left(files.storage_dir)
        _check_group(settings)
        if settings.kafka is not None:
            for difference in ensure_topics(settings.kafka).differences:
                log.warning("a topic is not configured as it should be", difference=difference)
        folder = open_folder(files.profiles, files.group_slug, disk=files.disk)
        stack.callback(folder.close)
        options = settings.store.of_a_run() if settings.until_caught_up else settings.store
        opened = stack.enter_context(open_store(options, files))
        liveness = Liveness(alive_files.alive_file(files.storage_dir, settings.alive_file))
        store = watched(opened.store, liveness.called)
        projection = Projection(store)
        announcer = stack.enter_context(open_announcer(settings.kafka, files))
        detector = RollbackDetector(store)
        flusher = Flusher(projection, folder, announcer, metrics, detector=detector, folder_days=files.folder_days)
        detector.read()  # from here on it notices a loss; what came before, the folder tells
        announced = partial(announced_hashes, settings.kafka, files.storage_dir / ANNOUNCEMENTS, liveness.called)
        flusher.recover_lost(by_files=True, announced=announced)
        scrub = Scrub(
            store,
            folder,
            compare_all=flusher.add_folder(),
            prune_all=settings.tail.prune_all,
            announced=announced,
        )
        note_place(store, folder, files.storage_dir)
        blocked = BlockedAnywhere(lambda: store, BlockedInMarker(files.profiles, files.disk))
        source, dead_letters = _source(settings, projection, blocked, liveness, metrics, stack)
        known = Projection(store, known=KnownProfiles(store))  # for the loop's thread alone
        loop = Loop(
            source,
            known,
            dead_letters,
            BadStreak(),
            metrics,
            time.monotonic,
            detector=detector,
            before_reading=blocked.enforce,  # or what comes out of Kafka brings them back into a store that was lost
        )
        flush_worker = FlushWorker(flusher, scrub, detector, time.monotonic, lambda: loop.behind)
        recovery_worker = RecoveryWorker(
            projection,
            lambda: _database(settings, store, blocked),
            time.monotonic,
            called=liveness.called,
            known=flush_worker.states,
            prune_all=settings.tail.prune_all,
        )
        nightly = settings.nightly and Nightly(opened.store, Schedule(settings.nightly.schedule), settings.nightly.run)
        daemon = Daemon(loop, source, flush_worker, recovery_worker, nightly, liveness, blocked, opened.store)
        daemon.narration.begin(**settings.facts())
        yield daemon, opened.restart_embedded_redis


def _source(  # noqa: PLR0913, PLR0917 - what was opened so far
    settings: DaemonSettings,
    projection: Projection,
    blocked: BlockedAnywhere,
    liveness: Liveness,
    metrics: Metrics,
    stack: ExitStack,
) -> tuple[Source, DeadLetters]:
    if settings.kafka is None:
        database = watched(stack.enter_context(_database(settings, projection.store, blocked)), liveness.called)
        files = settings.files
        dead_letters = FileDeadLetters(files.storage_dir / FILE_NAME, lambda: datetime.now(UTC), files.disk.file_mode)
        return DatabaseTail(projection, database, settings.tail, metrics=metrics), dead_letters
    producer = Producer(settings.kafka, delivery_timeout=_DEAD_LETTER_SECONDS)
    stack.callback(producer.close)
    options = SourceOptions(instance_id=settings.instance_id)
    source = KafkaSource(settings.kafka, settings.group_id, options=options, metrics=metrics)
    return source, KafkaDeadLetters(producer, lambda: datetime.now(UTC))


def _check_group(settings: DaemonSettings) -> None:
    """Nothing would be written for a misspelt group. With a broker, the database need not be reachable from here."""
    if (slug := settings.files.group_slug) is None:
        return
    try:
        with _database(settings) as database:
            groups = database.groups()
    except (OperatorError, DatabaseUnavailableError) as error:
        if settings.kafka is None:
            raise
        log.warning("the group could not be checked: the database is unreachable", group_slug=slug, reason=str(error))
        return
    refuse_unknown_group(slug, groups, settings.files.profiles)


def _database(
    settings: DaemonSettings, store: Store | None = None, blocked: BlockedAnywhere | None = None
) -> AbstractContextManager[Database]:
    stored = () if store is None else (SeenInStore(lambda: store),)
    marker = SeenInMarker(settings.files.profiles, settings.files.disk)
    seen = SeenAnywhere(marker, *stored, confirmed=settings.tail.prune_all)
    urls = settings.database.database_url, settings.database.insights_database_url
    return open_databases(*urls, timeout=_DATABASE_TIMEOUT, seen=seen, blocked=blocked)

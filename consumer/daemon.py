"""The daemon: the one place where the parts of `snapshot-consumer` are wired.

The loop runs in the calling thread, the flusher and the healer beside it. Without a broker the source is the database's
tail in this process; several daemons on one store share the work either way.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import structlog

from consumer.database_tail import DatabaseTail
from consumer.dead_letters import BadStreak, DeadLetters, FileDeadLetters, KafkaDeadLetters
from consumer.healer import Healer
from consumer.kafka_options import SourceOptions
from consumer.kafka_source import KafkaSource
from consumer.loop import Loop
from consumer.source import Source
from consumer.topics import ensure_topics
from consumer.workers import Worker
from projections.database import Database, open_databases
from projections.errors import OperatorError
from projections.projection import Projection
from projections.store import StoreUnavailableError
from snapshot.flusher import Flushed, Flusher
from snapshot.folder import open_folder
from snapshot.inspection import Inspection
from snapshot.kafka_producer import Producer
from snapshot.kafka_settings import KafkaSettings
from snapshot.metrics import Metrics
from snapshot.opening import make_storage, open_announcer, open_store
from snapshot.options import DatabaseOptions, FileOptions, StoreOptions

log = structlog.get_logger()

POLL_SECONDS = 0.5
_DEAD_LETTER_SECONDS = 10.0
_BEAT_SECONDS = 1.0
_LAST_WORDS_SECONDS = 3.0
_FAILING_ROUNDS = 3


class Settings(NamedTuple):
    """What the daemon runs on; see `snapshot.options` for each."""

    database: DatabaseOptions
    files: FileOptions
    store: StoreOptions
    kafka: KafkaSettings | None
    group_id: str
    instance_id: str | None
    until_caught_up: bool


class Summary(NamedTuple):
    """What a run did."""

    events: int
    flushed: Flushed


class _Flushing:
    """The flusher's thread: flush while anything is due; else look at a few files, and wait."""

    def __init__(self, flusher: Flusher, inspection: Inspection, now: Callable[[], float]) -> None:
        self._flusher = flusher
        self._inspection = inspection
        self._now = now
        self._inspected_at = now()
        self.flushed = Flushed()
        self.failing = 0
        """How many rounds in a row ended with nothing but failures."""

    def step(self) -> float:
        """Flush a batch; the seconds until the next."""
        flushed = self._flusher.flush()
        self.flushed += flushed
        if flushed.claims:
            self.failing = self.failing + 1 if flushed.failed == flushed.claims else 0
            return 0.0
        if self._now() - self._inspected_at >= 1.0:
            self._inspected_at = self._now()
            self._inspection.step()
        due = self._flusher.wait()
        return 0.25 if due is None else min(max(due, 0.02), 0.25)


class Daemon:
    """A wired consumer. `stop` ends it from a signal handler or another thread."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that `open_daemon` wires
        self, loop: Loop, source: Source, flushing: _Flushing, workers: list[Worker], flusher: Flusher, beat: Path
    ) -> None:
        self._loop = loop
        self._source = source
        self._flushing = flushing
        self._workers = workers
        self._flusher = flusher
        self._beat = beat
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End after the present step."""
        self._stopping.set()

    def run(self, revive: Callable[[], None], *, until_caught_up: bool) -> Summary:
        """Consume and flush until stopped, or until nothing is left to do."""
        for worker in self._workers:
            worker.start()
        events, beaten = 0, 0.0
        try:
            while not self._stopping.is_set():
                events += self._loop.step(POLL_SECONDS)
                self._look_at_workers()
                if self._loop.away:
                    revive()
                if time.monotonic() - beaten >= _BEAT_SECONDS:
                    self._alive()
                    beaten = time.monotonic()
                if until_caught_up and self._done():
                    break
        finally:
            self._end()
        self._look_at_workers()
        return Summary(events, self._flushing.flushed)

    def _alive(self) -> None:
        """Show a health check that the loop goes round; a disk that takes no file is the flusher's to report."""
        with suppress(OSError):
            self._beat.touch()

    def _done(self) -> bool:
        if not self._loop.caught_up():
            return False
        try:
            self._loop.commit()
            if not self._loop.caught_up() or self._flusher.wait() is not None:
                if self._flushing.failing >= _FAILING_ROUNDS:
                    raise OperatorError("nothing that is due can be written or announced; the log says why")
                return False
        except StoreUnavailableError:
            return False
        return True

    def _look_at_workers(self) -> None:
        for worker in self._workers:
            if worker.error is not None:
                raise worker.error

    def _end(self) -> None:
        for worker in self._workers:
            worker.stop()
        try:
            if not self._loop.away:
                self._loop.commit()
        except Exception as error:  # noqa: BLE001 - the end goes on: what is not committed is read again
            log.warning("the last positions are not committed; they are read again", reason=str(error))
        self._source.close()
        deadline = time.monotonic() + _LAST_WORDS_SECONDS
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))


@contextmanager
def open_daemon(settings: Settings, metrics: Metrics) -> Iterator[tuple[Daemon, Callable[[], None]]]:
    """Wire a daemon; gives it with what revives a private Redis. Raises OperatorError for whatever is in the way."""
    with ExitStack() as stack:
        files = settings.files
        make_storage(files)
        folder = open_folder(files.profiles, files.group_slug)
        stack.callback(folder.close)
        opened = stack.enter_context(open_store(settings.store, files))
        projection = Projection(opened.store)
        announcer = stack.enter_context(open_announcer(settings.kafka, files))
        flusher = Flusher(projection, folder, announcer, metrics)
        flusher.register()
        flushing = _Flushing(flusher, Inspection(opened.store, folder), time.monotonic)
        source, dead_letters = _source(settings, projection, stack)
        loop = Loop(source, projection, dead_letters, BadStreak(), metrics, time.monotonic)
        healer = Healer(projection, lambda: _database(settings.database), time.monotonic)
        workers = [Worker("flusher", flushing.step), Worker("healer", healer.step)]
        yield Daemon(loop, source, flushing, workers, flusher, files.storage_dir / "alive"), opened.revive


def _source(settings: Settings, projection: Projection, stack: ExitStack) -> tuple[Source, DeadLetters]:
    if settings.kafka is None:
        database = stack.enter_context(_database(settings.database))
        letters = FileDeadLetters(settings.files.storage_dir / "dead-letters.jsonl", lambda: datetime.now(UTC))
        return DatabaseTail(projection, database), letters
    for difference in ensure_topics(settings.kafka).differences:
        log.warning("a topic is not as it should be", difference=difference)
    producer = Producer(settings.kafka, delivery_timeout=_DEAD_LETTER_SECONDS)
    stack.callback(producer.close)
    options = SourceOptions(instance_id=settings.instance_id)
    source = KafkaSource(settings.kafka, settings.group_id, options=options)
    return source, KafkaDeadLetters(producer, lambda: datetime.now(UTC))


def _database(options: DatabaseOptions) -> AbstractContextManager[Database]:
    return open_databases(options.database_url, options.insights_database_url)

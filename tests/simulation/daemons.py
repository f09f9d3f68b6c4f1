"""`snapshot-consumer` as `consumer.daemon.daemon` wires it: a loop, a flusher and a recovery, each a task."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from simulation.broker import Broker
from simulation.disk import Disk, Inline
from simulation.log_source import LogSource
from simulation.processes import Lock, Process
from simulation.topic import Announcer

from consumer.daemon.flush_worker import FlushWorker
from consumer.daemon.recovery import RecoveryWorker
from consumer.dead_letters.breaker import BadStreak
from consumer.dead_letters.dead_letters import DeadLetters
from consumer.loop import Loop
from consumer.source import Source
from consumer.tail.source import DatabaseTail
from consumer.tail.state import TailSettings
from projections.database.protocol import Database
from projections.errors import OperatorError
from projections.projection import Projection
from projections.store.known_profiles import KnownProfiles
from projections.store.protocol import Store, StoreUnavailableError
from projections.store.rollback import RollbackDetector
from snapshot.files.folder import ProfileFolder, open_folder
from snapshot.flush.flusher import Flusher
from snapshot.flush.scrub import Scrub
from snapshot.runtime.metrics import Counter, Metrics, NoMetrics
from support.tailing import NoDeadLetters

METRICS = NoMetrics()


class Said(NoMetrics):
    """Calls `drifted` where the tail says that it found drift."""

    def __init__(self, drifted: Callable[[int], None]) -> None:
        self._drifted = drifted

    def count(self, name: Counter, by: int = 1) -> None:
        if name == "signal_glaze.drift":
            self._drifted(by)


class Outside(NamedTuple):
    """What a process calls: each is its own connection."""

    process: Process
    store: Store
    database: Database
    disk: Disk
    announcer: Announcer


class Place(NamedTuple):
    """A folder of profiles and its scope."""

    path: str
    group_slug: str | None


class FlushTimes(NamedTuple):
    """Seconds, see `Flusher`."""

    lease: float
    retry: float


def open_flusher(
    outside: Outside, place: Place, times: FlushTimes, detector: RollbackDetector | None = None
) -> tuple[ProfileFolder, Flusher]:
    """Open the folder, and a flusher that writes to it."""
    process = outside.process
    folder = open_folder(Path(place.path), place.group_slug, process.now, disk=outside.disk, writers=Inline())
    return folder, Flusher(
        Projection(outside.store, lambda: bytes.fromhex(process.token())),
        folder,
        outside.announcer,
        METRICS,
        lease=times.lease,
        retry=times.retry,
        now=process.now,
        token=process.token,
        detector=detector,
    )


class Daemon:
    """One daemon; `source` makes what its loop reads from a projection.

    `caught_up`: it is to end when it has, and calls that then.
    """

    def __init__(
        self,
        outside: Outside,
        place: Place,
        times: FlushTimes,
        source: Callable[[Projection], tuple[Source, DeadLetters]],
        caught_up: Callable[[], None] | None = None,
    ) -> None:
        self.process = outside.process
        self.outside = outside
        self.place = place
        self._times = times
        self._source = source
        self._caught_up = caught_up
        self._flushing: FlushWorker | None = None
        self.loop: Loop | None = None
        outside.process.start("main", self._main)

    def _main(self) -> None:
        process = self.outside.process
        while True:
            try:
                self._open()
            except (StoreUnavailableError, OperatorError, OSError):
                process.sleep(1.0)  # it ended with exit code 2, and a supervisor starts it again
            else:
                break
        assert self.loop is not None
        while True:
            self.loop.step(0.5)
            if self._caught_up is not None and self._is_done(self.loop):
                self._caught_up()
                process.end()
            if self.loop.unavailable:
                process.sleep(0.2)

    def _is_done(self, loop: Loop) -> bool:
        try:
            return loop.finish() and self._flushing is not None and self._flushing.idle()
        except StoreUnavailableError:
            return False

    def _open(self) -> None:
        outside, process = self.outside, self.outside.process
        detector = RollbackDetector(outside.store, Lock(process))
        folder, flusher = open_flusher(outside, self.place, self._times, detector)
        detector.read()
        flusher.recover_lost(by_files=True, announced=outside.announcer.announced)
        scrub = Scrub(
            outside.store,
            folder,
            process.now,
            compare_all=flusher.add_folder(),
            announced=outside.announcer.announced,
        )
        flushing = self._flushing = FlushWorker(flusher, scrub, detector, process.now)
        projection = Projection(outside.store, lambda: bytes.fromhex(process.token()))
        source, letters = self._source(projection)
        consuming = Projection(
            outside.store, lambda: bytes.fromhex(process.token()), KnownProfiles(outside.store, max_bytes=50_000)
        )
        self.loop = Loop(source, consuming, letters, BadStreak(), METRICS, process.now, detector=detector)
        recovery = RecoveryWorker(
            projection, lambda: outside.database, process.now, process.token(), known=flushing.states
        )
        process.start("flusher", lambda: self._repeat(flushing.step))
        process.start("recovery", lambda: self._repeat(recovery.step))

    def _repeat(self, step: Callable[[], float]) -> None:
        """As `consumer.daemon.worker` does."""
        while True:
            try:
                seconds = step()
            except StoreUnavailableError:
                seconds = 0.5
            if seconds > 0:  # a thread may come to its turn late
                self.outside.process.sleep(seconds * (1 + 2 * self.outside.process.draw()))


def tail_source(
    outside: Outside, settings: TailSettings, metrics: Metrics
) -> Callable[[Projection], tuple[Source, DeadLetters]]:
    """Without a broker the source is the database's tail in the process itself."""
    process = outside.process

    def made(projection: Projection) -> tuple[Source, DeadLetters]:
        tail = DatabaseTail(
            projection,
            outside.database,
            settings,
            metrics=metrics,
            token=process.token(),
            now=process.now,
            sleep=process.sleep,
        )
        return tail, NoDeadLetters()

    return made


def log_source(outside: Outside, broker: Broker, batch: int) -> Callable[[Projection], tuple[Source, DeadLetters]]:
    """With a broker the source is a member of a consumer group."""
    return lambda _projection: (LogSource(broker, outside.process, batch), NoDeadLetters())

"""Everything outside the product: database, store, disk and topic, and the processes that call them."""

from collections.abc import Callable
from random import Random

from simulation.broker import Broker
from simulation.checks import Checks
from simulation.daemons import Outside
from simulation.database import WhiteBalloon
from simulation.disk import Disk, Files
from simulation.log_source import LogSender
from simulation.plan import Plan
from simulation.processes import Process
from simulation.reading import Reader
from simulation.scheduler import Scheduler, Trace
from simulation.store import Connection, Storage, Trouble
from simulation.topic import Announcements, Announcer

from projections.database.protocol import Indexed

_TROUBLES = tuple(Trouble)
DEBOUNCE = 0.5


class World:
    """One world for one history. `violation` is the first thing that was not as it must be."""

    def __init__(self, plan: Plan, trace: Trace) -> None:
        self.plan = plan
        self.random = Random(f"world {plan.seed}")  # noqa: S311 - nothing secret is drawn
        self.scheduler = Scheduler(trace)
        self.scheduler.endless = lambda: self.violated("it has no end: something turns without a rest")
        self.database = WhiteBalloon(self._now, one_writer=plan.one_writer)
        self.storage = Storage(self._now, DEBOUNCE)
        self.broker = Broker(self._now, self.random, plan.partitions)
        self.files = Files()
        self.topic = Announcements()
        self.violation: str | None = None
        self.error: BaseException | None = None
        self.checks = Checks(self.database, self.violated)
        self.database.committed = self.checks.committed
        self.storage.read = self.checks.read
        self.topic.arrived = self.checks.announced
        self.troubled = True
        """Whether commands and announcements are lost."""
        self._processes = 0

    def _now(self) -> int:
        return self.scheduler.now

    def violated(self, what: str) -> None:
        if self.violation is None:
            self.violation = f"at {self.scheduler.now / 1e6:.6f} s: {what}"
            self.scheduler.halt()

    def process(self, name: str) -> Process:
        self._processes += 1
        return Process(self.scheduler, self.random, f"{name}{self._processes}", self._failed, self.plan.slowness)

    def _failed(self, task: str, error: BaseException) -> None:
        """No process ends by itself."""
        self.error = error
        self.violated(f"{task} ended by itself: {error!r}")

    def outside(self, process: Process) -> Outside:
        """Connections of its own to everything."""
        return Outside(
            process,
            Connection(self.storage, process, self._trouble).store(),
            Reader(self.database, process, Indexed(deleted_at=False, recorded_at=False)),
            Disk(self.files, process),
            Announcer(self.topic, process, self._lost),
        )

    def sender(self, process: Process) -> LogSender:
        """A producer of its own."""
        return LogSender(self.broker, process, self._undelivered, self._later)

    def _later(self, seconds: float, act: Callable[[], object]) -> None:
        network = self.process("network")

        def work() -> None:
            network.sleep(seconds)
            act()

        network.start("late", work)

    def _undelivered(self, _name: str) -> Trouble | None:
        return self._draw(self.plan.lost_events)

    def _trouble(self, _name: str) -> Trouble | None:
        return self._draw(self.plan.lost_commands)

    def _draw(self, chance: float) -> Trouble | None:
        if not (chance and self.troubled) or self.random.random() >= chance:
            return None
        return self.random.choice(_TROUBLES)

    def _lost(self) -> bool | None:
        chance = self.plan.lost_announcements
        if not (chance and self.troubled) or self.random.random() >= chance:
            return None
        return self.random.random() < 0.5

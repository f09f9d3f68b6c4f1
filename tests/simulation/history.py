"""One history: a world, its people and its faults; then quiet, and what must be true at rest."""

from collections.abc import Callable
from typing import NamedTuple

from simulation.changes import Town
from simulation.daemons import Daemon, FlushTimes, Place, tail_source
from simulation.faults import Fate
from simulation.plan import Plan
from simulation.recount import expected, wrong_announcements, wrong_files
from simulation.scheduler import SECOND, Trace
from simulation.world import World

from consumer.tail.state import TailSettings
from projections.profile_key import ProfileKey
from snapshot.files.ownership import file_name
from snapshot.schema import SignalProfileSnapshot

PROFILES = Place("/profiles", None)
TIMES = FlushTimes(lease=4.0, retry=1.0)
SWEEP_SECONDS = 2.0
_QUIET_SECONDS = 90.0
_AGAIN_SECONDS = 2 * SWEEP_SECONDS


class Outcome(NamedTuple):
    """How a history ended; without a violation it is as it must be."""

    violation: str | None
    steps: int
    seconds: float
    checksum: int


class History:
    """Runs one plan."""

    def __init__(self, plan: Plan, trace: Trace) -> None:
        self.plan = plan
        self.trace = trace
        self.world = World(plan, trace)
        self.world.files.changed = self._file_changed
        self.daemons: list[Daemon] = []
        self._names: dict[str, ProfileKey] = {}
        self._faults_left = 1

    def run(self) -> Outcome:
        """Everything, to the end or to the first violation."""
        world = self.world
        Town(world.database, world.random, self.plan).settle()
        for _ in range(self.plan.daemons):
            self.start_daemon()
        self._people()
        world.scheduler.run()
        return Outcome(world.violation, self.trace.steps, world.scheduler.now / SECOND, self.trace.checksum)

    def start_daemon(self) -> None:
        process = self.world.process("daemon")
        outside = self.world.outside(process)
        settings = TailSettings(batch=self.plan.batch, sweep_interval=SWEEP_SECONDS, lease=2.0)
        self.daemons.append(Daemon(outside, PROFILES, TIMES, tail_source(outside, settings)))

    # ------------------------------------------------------------------------------------------------- what happens

    def _people(self) -> None:
        town = Town(self.world.database, self.world.random, self.plan)
        fate = Fate(self)
        people = self.world.process("people")
        for number in range(2):
            people.start(str(number), lambda: self._changes(town, people.sleep, self.plan.changes // 2))
        fates = self.world.process("fate")
        fates.start("faults", lambda: self._faults(fate, fates.sleep))
        fates.start("end", lambda: self._end(fates.sleep))

    def _changes(self, town: Town, sleep: Callable[[float], None], number: int) -> None:
        random, plan, database = self.world.random, self.plan, self.world.database
        for _ in range(number):
            sleep(random.expovariate(number / plan.busy_seconds))
            if self.world.scheduler.now > plan.busy_seconds * SECOND:
                return
            transaction = database.begin()
            if transaction is None:
                continue
            transaction.changes += town.draw()
            if random.random() < plan.late_commit:
                sleep(random.expovariate(1.0))
            if random.random() < plan.rolled_back:
                database.roll_back(transaction)
            else:
                database.commit(transaction)

    def _faults(self, fate: Fate, sleep: Callable[[float], None]) -> None:
        random, plan = self.world.random, self.plan
        weights = plan.fault_weights
        for _ in range(plan.faults):
            sleep(random.expovariate(plan.faults / plan.busy_seconds))
            if self.world.scheduler.now > plan.busy_seconds * SECOND:
                break
            name = random.choices(list(weights), list(weights.values()))[0]
            self.trace.note(self.world.scheduler.now, "fate", name)
            fate.befall(name, sleep)
        self._faults_left = 0

    # ------------------------------------------------------------------------------------------------------- at rest

    def _end(self, sleep: Callable[[float], None]) -> None:
        """Let all faults end, wait until everything is as it must be, and stays so."""
        world = self.world
        sleep(self.plan.busy_seconds)
        while self._faults_left or world.database.busy:
            sleep(0.5)
        world.troubled = False
        deadline = world.scheduler.now + int(_QUIET_SECONDS * SECOND)
        right_since: int | None = None
        right = expected(world.database.tables)
        while True:
            sleep(0.5)
            wrong = self._wrong(right)
            right_since = None if wrong else right_since or world.scheduler.now
            if right_since is not None and world.scheduler.now - right_since > _AGAIN_SECONDS * SECOND:
                world.scheduler.halt()
                return
            if world.scheduler.now > deadline:
                if world.checks.may_be_blocked:
                    world.scheduler.halt()
                    return
                world.violated("; ".join(wrong) or "it is not quiet")
                return

    def _wrong(self, right: dict[ProfileKey, SignalProfileSnapshot]) -> list[str]:
        world = self.world
        wrong = wrong_files(right, world.files, PROFILES.path, PROFILES.group_slug, {})
        return wrong + wrong_announcements(right, world.topic)

    def _file_changed(self, path: str, content: bytes | None, who: str) -> None:
        key = self._key_of(path)
        if key is not None:
            self.world.checks.written(path.rpartition("/")[0], key, who, there=content is not None)

    def _key_of(self, path: str) -> ProfileKey | None:
        """Whose file it is; only profiles that were read are written."""
        if path not in self._names:
            for key in self.world.checks.known:
                self._names[f"{PROFILES.path}/{file_name(key, PROFILES.group_slug)}"] = key
        return self._names.get(path)


def run(plan: Plan, trace: Trace) -> Outcome:
    return History(plan, trace).run()

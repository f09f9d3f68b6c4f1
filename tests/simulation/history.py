"""One history: a world, its people and its faults; then quiet, and what must be true at rest."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from simulation.changes import Town
from simulation.daemons import Daemon, FlushTimes, Place, Said, log_source, tail_source
from simulation.faults import Fate
from simulation.plan import LOSSES, Plan
from simulation.processes import Process
from simulation.rebuilds import RebuildProgram
from simulation.recount import expected, wrong_announcements, wrong_files
from simulation.relays import RelayProgram
from simulation.scheduler import SECOND, Trace
from simulation.world import World

from consumer.tail.state import TailSettings
from projections.profile_key import ProfileKey
from projections.watermark import TAIL
from snapshot.files.marker import MARKER
from snapshot.files.ownership import file_name
from snapshot.rebuild.report import Report
from snapshot.schema import SignalProfileSnapshot

PLACES = {None: Place("/profiles", None), "elm": Place("/elm", "elm")}
TIMES = FlushTimes(lease=4.0, retry=1.0)
SWEEP_SECONDS = 2.0
LOSING = LOSSES | {"retention", "topic_made_again"}
_QUIET_SECONDS = 150.0
"""More where calls are slower than any plan without a specimen has them."""
_USUAL_SLOWNESS = 500.0
_RUNS = 3
_AGAIN_SECONDS = 2 * SWEEP_SECONDS


class Outcome(NamedTuple):
    """How a history ended; without a violation it is as it must be."""

    violation: str | None
    steps: int
    seconds: float
    checksum: int


class Program(NamedTuple):
    """Something that is to run all the time; `again` starts it once more after it was killed."""

    process: Process
    again: "Callable[[], Program]"


class History:
    """Runs one plan."""

    def __init__(self, plan: Plan, trace: Trace) -> None:
        self.plan = plan
        self.trace = trace
        self.world = World(plan, trace)
        self.world.files.changed = self._file_changed
        self.programs: list[Program] = []
        self._rebuilt: set[str | None] = set()
        """The scopes of the folders that were written to by any run."""
        self._names: dict[str, ProfileKey] = {}
        self._metrics = Said(self._drifted)
        self._faults_left = 1
        self._settings = TailSettings(batch=plan.batch, page=plan.page, sweep_interval=SWEEP_SECONDS, lease=2.0)

    def run(self) -> Outcome:
        """Everything, to the end or to the first violation."""
        world = self.world
        Town(world.database, world.random, self.plan).settle()
        for _ in range(self.plan.relays):
            self.start(self._relay)
        for slug in self.plan.folders:
            self.start(partial(self._daemon, slug))
        self._people()
        world.scheduler.run()
        return Outcome(world.violation, self.trace.steps, world.scheduler.now / SECOND, self.trace.checksum)

    # ------------------------------------------------------------------------------------------------------ programs

    def start(self, program: Callable[[], Program]) -> None:
        self.programs.append(program())

    def end(self, program: Program) -> None:
        """As kill -9 does."""
        self.programs.remove(program)
        program.process.kill()

    def _daemon(self, slug: str | None) -> Program:
        return Program(self._open_daemon(slug).process, partial(self._daemon, slug))

    def _open_daemon(self, slug: str | None, caught_up: Callable[[], None] | None = None) -> Daemon:
        world, settings = self.world, self._settings
        outside = world.outside(world.process("daemon"))
        source = (
            log_source(outside, world.broker, self.plan.batch)
            if self.plan.relays
            else tail_source(outside, settings, self._metrics)
        )
        return Daemon(outside, PLACES[slug], TIMES, source, caught_up)

    def run_until_caught_up(self) -> None:
        """What had been committed when it began is in the store when it ends."""
        since = self.world.checks.counting()

        def caught_up() -> None:
            lacking = self.world.checks.lacking(since, self.world.storage.live)
            if lacking and not self._loses:
                self.world.violated(f"it says that it has caught up, and the store lacks {'; '.join(lacking)}")

        if not self.plan.relays:
            self._open_daemon(None, caught_up)

    @property
    def _loses(self) -> bool:
        """Whether anything is lost of the store or the topics, or may wait for somebody's word."""
        return (
            bool(LOSING & self.plan.fault_weights.keys())
            or self.plan.mass is not None
            or self.world.checks.may_be_blocked
        )

    def _drifted(self, profiles: int, who: str = "the tail") -> None:
        """The first tail all the while, and nothing was lost: then there is no drift."""
        if not self._loses and (self.world.storage.lapses == 1 or not self.plan.drift_of_starts):
            self.world.violated(f"{who} says that {profiles} profiles have drifted, and nothing was lost")

    def _relay(self) -> Program:
        outside = self.world.outside(self.world.process("relay"))
        sender = self.world.sender(outside.process)
        relay = RelayProgram(outside, sender, self._settings, self.world.database.true_clock, self._metrics)
        return Program(relay.process, self._relay)

    def rebuild(self, slug: str | None, *, prune_all: bool = False) -> RebuildProgram:
        """Begin a run."""
        self._rebuilt.add(slug)
        outside = self.world.outside(self.world.process("rebuild"))
        followed = self.world.storage.inner.leased(TAIL)

        def reported(report: Report) -> None:
            drifted = report.missing + report.orphaned + report.different
            if drifted and followed and self.world.storage.inner.leased(TAIL):
                self._drifted(drifted, "a rebuild")

        return RebuildProgram(outside, PLACES[slug], TIMES, reported, prune_all=prune_all)

    # ------------------------------------------------------------------------------------------------- what happens

    def _people(self) -> None:
        town = Town(self.world.database, self.world.random, self.plan)
        fate = Fate(self)
        people = self.world.process("people")
        for number in range(2):
            people.start(str(number), lambda: self._changes(town, people.sleep, self.plan.changes // 2))
        fates = self.world.process("fate")
        fates.start("faults", lambda: self._faults(fate, fates.sleep))
        if self.plan.mass is not None:
            people.start("mass", lambda: self._mass(town, self.plan.mass or "", people.sleep))
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
                self.world.scheduler.say(f"committed: {self.world.checks}")

    def _mass(self, town: Town, name: str, sleep: Callable[[float], None]) -> None:
        """Much disappears at once, and perhaps comes back."""
        database, checks = self.world.database, self.world.checks
        sleep(self.plan.busy_seconds * (0.4 + 0.2 * self.world.random.random()))
        while (transaction := database.begin()) is None:
            sleep(0.1)
        before, kept = checks.counting(), database.tables.copy()
        transaction.changes += getattr(town, name)()
        database.commit(transaction)
        now = checks.counting()
        checks.mass.begin(
            {key: ids - now[key] for key, ids in before.items()}, kept.analyses.keys() - database.tables.analyses.keys()
        )
        if not self.plan.restored:
            return
        sleep(self.plan.busy_seconds * 0.3)
        while (transaction := database.begin()) is None:
            sleep(0.1)
        transaction.changes.append(lambda tables: tables.add(kept))
        database.commit(transaction)
        checks.mass.over()

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
        while self._faults_left or world.database.busy or world.database.away or world.storage.away:
            sleep(0.5)
        world.troubled = False
        wrong = self._settled(sleep)
        if wrong and (world.checks.may_be_blocked or self.plan.mass is not None):
            self._confirm(sleep)
            wrong = self._settled(sleep)
        if not wrong:
            wrong = self._rebuilt_right(sleep)
        if wrong:
            world.violated("; ".join(wrong))
        world.scheduler.halt()

    def _settled(self, sleep: Callable[[float], None], folders: set[str | None] | None = None) -> list[str]:
        """Wait; what is wrong in the end, in these folders: those of the daemons, if none are given."""
        folders = folders or set(self.plan.folders)
        scheduler = self.world.scheduler
        deadline = scheduler.now + int(_QUIET_SECONDS * max(1.0, self.plan.slowness / _USUAL_SLOWNESS) * SECOND)
        right_since: int | None = None
        right = expected(self.world.database.tables)
        while True:
            sleep(0.5)
            wrong = self._wrong(right, folders)
            right_since = None if wrong else right_since or scheduler.now
            if right_since is not None and scheduler.now - right_since > _AGAIN_SECONDS * SECOND:
                return []
            if scheduler.now > deadline:
                return wrong or ["it is not quiet"]

    def _confirm(self, sleep: Callable[[float], None]) -> None:
        """An operator says that everything that disappeared was meant."""
        self.world.checks.mass.over()
        self._ran(None, sleep, prune_all=True)

    def _rebuilt_right(self, sleep: Callable[[float], None]) -> list[str]:
        """The folders that no daemon keeps are right after a run; one that a slow server held up leaves some."""
        wrong: list[str] = []
        made = {slug for slug in self._rebuilt if f"{PLACES[slug].path}/{MARKER}" in self.world.files.contents}
        for slug in sorted(made - set(self.plan.folders), key=str):
            for _ in range(_RUNS):
                self._ran(slug, sleep, prune_all=True)
                wrong = self._wrong(expected(self.world.database.tables), {slug})
                if wrong:  # a tail that stood still for long may only now have seen what had happened meanwhile
                    wrong = self._settled(sleep, {slug})
                if not wrong:
                    break
        return wrong

    def _ran(self, slug: str | None, sleep: Callable[[float], None], *, prune_all: bool) -> None:
        run = self.rebuild(slug, prune_all=prune_all)
        while not run.ended:
            sleep(0.5)
        if run.refused is not None:
            self.world.violated(f"a rebuild refused to run though all is well: {run.refused}")

    def _wrong(self, right: dict[ProfileKey, SignalProfileSnapshot], folders: set[str | None]) -> list[str]:
        world = self.world
        found: list[str] = []
        for slug in sorted(folders, key=str):
            found += wrong_files(right, world.files, PLACES[slug].path, slug, {})
        return found + wrong_announcements(right, world.topic)

    # -------------------------------------------------------------------------------------------------- what is shown

    def _file_changed(self, path: str, content: bytes | None, who: str) -> None:
        key = self._key_of(path)
        if key is not None:
            self.world.checks.written(path.rpartition("/")[0], key, who, there=content is not None)

    def _key_of(self, path: str) -> ProfileKey | None:
        """Whose file it is; only profiles that were read are written."""
        if path not in self._names:
            for key in self.world.checks.known:
                for place in PLACES.values():
                    if place.group_slug in (None, key.group_slug):
                        self._names[f"{place.path}/{file_name(key, place.group_slug)}"] = key
        return self._names.get(path)


def run(plan: Plan, trace: Trace) -> Outcome:
    return History(plan, trace).run()

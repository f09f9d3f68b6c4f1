"""Which faults come when: drawn by weight, several at a time, but never two on the same part of the world."""

import time
from collections.abc import Sequence

from chaos.faults import broker, database, machine, processes, store
from chaos.faults.base import Fault
from chaos.world import World

FAULTS: tuple[type[Fault], ...] = (
    *processes.FAULTS,
    *store.FAULTS,
    *broker.FAULTS,
    *database.FAULTS,
    *machine.FAULTS,
)
_GAP = 2.5
"""Seconds from one beginning to the next, on average."""
_AT_ONCE = 3
_SWARM = (0, 0.5, 1, 1, 3, 8)
"""Each run prefers some kinds and leaves others out."""
_CALM_AT_START = 5.0
_END_SECONDS = 60.0


class Schedule:
    """Faults for so many seconds. All that was begun has ended when `run` returns."""

    def __init__(self, world: World, kinds: Sequence[type[Fault]] = FAULTS) -> None:
        self._world = world
        self._weights = {kind: kind.weight * world.random.choice(_SWARM) for kind in kinds if kind.fits(world)}
        self._active: list[tuple[float, Fault]] = []
        self._destroyed = ""

    def run(self, seconds: float) -> None:
        dice = self._world.random
        self._world.wait(_CALM_AT_START)
        over = time.monotonic() + seconds
        due = time.monotonic()
        try:
            while time.monotonic() < over:
                self._end_due()
                if time.monotonic() >= due and len(self._active) < _AT_ONCE:
                    self._begin_one()
                    due = time.monotonic() + dice.expovariate(1 / _GAP)
                self._world.wait(0.1)
        finally:
            self._end_due(all_of_them=True)

    def _begin_one(self) -> None:
        held = frozenset[str]().union(*(fault.holds for _, fault in self._active))
        free = {
            kind: weight
            for kind, weight in self._weights.items()
            if weight and not kind.holds & held and kind.destroys in {"", self._destroyed or kind.destroys}
        }
        if not free:
            return
        fault = self._world.random.choices([*free], [*free.values()])[0](self._world, self._world.random)
        self._destroyed = self._destroyed or fault.destroys
        self._note("fault", fault)
        if fault.troubles:
            self._world.troubles.add(fault)
        self._active.append((time.monotonic() + fault.seconds, fault))
        try:
            fault.begin()
        except Exception as error:  # noqa: BLE001  what it would disturb is in disorder still, from the last fault
            fault.facts["did not take"] = repr(error)
        self._note("fault began", fault)

    def _end_due(self, *, all_of_them: bool = False) -> None:
        for at, fault in list(self._active):
            if all_of_them or time.monotonic() >= at:
                self._active.remove((at, fault))
                self._end(fault)
                self._world.look()  # while it still counts as a trouble
                self._world.troubles.discard(fault)
                self._note("fault over", fault)

    def _end(self, fault: Fault) -> None:
        """Nothing may stay disturbed: what is in disorder still, from another fault, is given some time."""
        deadline = time.monotonic() + _END_SECONDS
        while True:
            try:
                return fault.end()
            except Exception as error:
                if time.monotonic() > deadline:
                    raise
                fault.facts["ends late"] = repr(error)
                self._world.wait(1)

    def _note(self, what: str, fault: Fault) -> None:
        self._world.timeline.note(what, fault=fault.name(), lasts=round(fault.seconds, 1), **fault.facts)
        if what == "fault":
            self._world.timeline.counts[f"fault: {fault.name()}"] += 1

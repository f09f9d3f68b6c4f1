"""What befalls the processes and what they call: each method is one fault."""

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from simulation.scheduler import SECOND

if TYPE_CHECKING:
    from simulation.history import History, Program


class Fate:
    """Draws faults for a history, and waits out what they need."""

    def __init__(self, history: "History") -> None:
        self._history = history
        self._world = history.world
        self._random = history.world.random

    def befall(self, name: str, sleep: Callable[[float], None]) -> None:
        getattr(self, name)(sleep)

    def _some(self) -> "Program":
        return self._random.choice(self._history.programs)

    def _until(self, least: float, most: float) -> int:
        return self._world.scheduler.now + int(self._random.uniform(least, most) * SECOND)

    # ----------------------------------------------------------------------------------------------------- processes

    def stop(self, _sleep: Callable[[float], None]) -> None:
        """Not longer than half a claim."""
        self._some().process.stop(self._random.uniform(0.1, 2.0))

    def zombie(self, _sleep: Callable[[float], None]) -> None:
        """Longer than claims, leases and the session last."""
        self._some().process.stop(self._random.uniform(4.0, 12.0))

    def kill(self, sleep: Callable[[float], None]) -> None:
        program = self._some()
        self._history.end(program)
        sleep(self._random.choice((0.0, 1.0, 6.0)))
        self._history.start(program.again)

    # --------------------------------------------------------------------------------------------- store and database

    def store_away(self, _sleep: Callable[[float], None]) -> None:
        self._world.storage.away_until = self._until(0.1, 8.0)

    def store_falls_back(self, sleep: Callable[[float], None]) -> None:
        """Its last moments are lost; it is away for a moment meanwhile."""
        fall_back = self._world.storage.keep()
        sleep(self._random.choice((0.05, 0.3, 1.0, 3.0)))
        fall_back()
        self._world.storage.away_until = self._until(0.0, 1.0)

    def store_lost(self, sleep: Callable[[float], None]) -> None:
        """Everything, under way or while no process runs."""
        programs = list(self._history.programs) if self._random.random() < 0.5 else []
        for program in programs:
            self._history.end(program)
        sleep(self._random.uniform(0.0, 1.0))
        self._world.storage.lose_all()
        for program in programs:
            sleep(self._random.uniform(0.0, 0.5))
            self._history.start(program.again)

    def database_away(self, _sleep: Callable[[float], None]) -> None:
        self._world.database.away_until = self._until(0.1, 5.0)

    def clock_step(self, _sleep: Callable[[float], None]) -> None:
        """Somebody sets the database's clock."""
        self._world.database.clock_offset = int(self._random.uniform(-30.0, 30.0) * SECOND)

    # --------------------------------------------------------------------------------------------------------- folders

    def disk_fails(self, sleep: Callable[[float], None]) -> None:
        self._world.files.failing = self._random.choice((errno.EIO, errno.ENOSPC))
        sleep(self._random.uniform(0.1, 4.0))
        self._world.files.failing = None

    def file_touched(self, _sleep: Callable[[float], None]) -> None:
        """Somebody edits or removes a file that is ours."""
        files = self._world.files
        ours = [path for path in sorted(files.contents) if path.endswith(".json")]
        if ours:
            path = self._random.choice(ours)
            if self._random.random() < 0.5:
                del files.contents[path]
            else:
                files.contents[path] = self._random.choice((b"", b"{}", b"mine"))

    # ------------------------------------------------------------------------------------------------------------- runs

    def ends_when_caught_up(self, _sleep: Callable[[float], None]) -> None:
        """`snapshot-consumer --until-caught-up` beside the others."""
        self._history.run_until_caught_up()

    def rebuild(self, _sleep: Callable[[float], None]) -> None:
        self._history.rebuild(None)

    def rebuild_group(self, _sleep: Callable[[float], None]) -> None:
        self._history.rebuild("elm")

    def rebuild_killed(self, sleep: Callable[[float], None]) -> None:
        run = self._history.rebuild(self._random.choice((None, "elm")))
        sleep(self._random.choice((0.005, 0.05, 0.5, 2.0)) * self._random.random())
        run.process.kill()

    # ---------------------------------------------------------------------------------------------------------- broker

    def broker_away(self, _sleep: Callable[[float], None]) -> None:
        self._world.broker.away_until = self._until(0.1, 8.0)

    def retention(self, _sleep: Callable[[float], None]) -> None:
        self._world.broker.retain()

    def topic_made_again(self, _sleep: Callable[[float], None]) -> None:
        self._world.broker.make_again()

    def partitions_added(self, _sleep: Callable[[float], None]) -> None:
        self._world.broker.grow()

    def rebalance(self, _sleep: Callable[[float], None]) -> None:
        """The coordinator moves all partitions about."""
        self._world.broker.group.shuffle()

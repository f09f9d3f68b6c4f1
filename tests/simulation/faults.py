"""What befalls the processes and what they call: each method is one fault."""

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from simulation.scheduler import SECOND

if TYPE_CHECKING:
    from simulation.history import History


class Fate:
    """Draws faults for a history, and waits out what they need."""

    def __init__(self, history: "History") -> None:
        self._history = history
        self._world = history.world
        self._random = history.world.random

    def befall(self, name: str, sleep: Callable[[float], None]) -> None:
        getattr(self, name)(sleep)

    def stop(self, _sleep: Callable[[float], None]) -> None:
        """Not longer than half a claim: what stands still longer comes back as a zombie."""
        self._random.choice(self._history.daemons).outside.process.stop(self._random.uniform(0.1, 3.0))

    def kill(self, sleep: Callable[[float], None]) -> None:
        daemon = self._random.choice(self._history.daemons)
        self._history.daemons.remove(daemon)
        daemon.outside.process.kill()
        sleep(self._random.choice((0.0, 1.0, 6.0)))
        self._history.start_daemon()

    def store_away(self, _sleep: Callable[[float], None]) -> None:
        self._world.storage.away_until = self._world.scheduler.now + int(self._random.uniform(0.1, 8.0) * SECOND)

    def store_falls_back(self, sleep: Callable[[float], None]) -> None:
        """Its last moments are lost; it is away for a moment meanwhile."""
        fall_back = self._world.storage.keep()
        sleep(self._random.choice((0.05, 0.3, 1.0, 3.0)))
        fall_back()
        self._world.storage.away_until = self._world.scheduler.now + int(self._random.uniform(0.0, 1.0) * SECOND)

    def database_away(self, _sleep: Callable[[float], None]) -> None:
        self._world.database.away_until = self._world.scheduler.now + int(self._random.uniform(0.1, 5.0) * SECOND)

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

"""A process of the simulated world: some tasks that are stopped, go on and die together."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from random import Random
from typing import Self

from simulation.scheduler import SECOND, KilledError, Scheduler, Task


class Lock(AbstractContextManager["Lock"]):
    """A lock between the tasks of one process."""

    def __init__(self, process: "Process") -> None:
        self._process = process
        self._held = False

    def __enter__(self) -> Self:
        while self._held:
            self._process.sleep(0.001)
        self._held = True
        return self

    def __exit__(self, *_: object) -> None:
        self._held = False


class Process:
    """Whatever it calls outside goes through `call`, which takes time, and which ends it once it was killed.

    `failed` is called with a task that ended by an error of its own. `slowness` is what a call usually takes, in
    microseconds; now and then it takes far longer.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        random: Random,
        name: str,
        failed: Callable[[str, BaseException], None],
        slowness: float,
    ) -> None:
        self.name = name
        self.dead = False
        self.slowness = slowness
        self._failed = failed
        self._scheduler = scheduler
        self._random = random
        self._tasks: list[Task] = []
        self._heard_at = scheduler.now

    def start(self, name: str, work: Callable[[], None]) -> None:
        whole = f"{self.name}.{name}"
        self._tasks.append(self._scheduler.spawn(whole, work, lambda error: self._failed(whole, error)))

    def call(self, what: str) -> None:
        """Something outside is asked: others may come first."""
        if self.dead:
            raise KilledError
        self._heard_at = self._scheduler.now
        self._scheduler.pause(int(self.slowness * min((self._random.random() + 1e-9) ** -1.1, 40_000.0)), what)

    def say(self, text: str) -> None:
        """A remark in the trace."""
        self._scheduler.say(text)

    def sleep(self, seconds: float) -> None:
        if self.dead:
            raise KilledError
        self._heard_at = self._scheduler.now
        self._scheduler.pause(max(1, int(seconds * SECOND)), "wakes")

    def now(self) -> float:
        """The process' monotonic clock, in seconds; it goes on while the process is stopped."""
        return self._scheduler.now / SECOND

    def draw(self) -> float:
        return self._random.random()

    def token(self) -> str:
        """Sixteen hex digits that nobody else has."""
        return f"{self._random.getrandbits(64):016x}"

    def silent_for(self, seconds: float) -> bool:
        """Whether it has neither called anything nor gone to sleep for so long."""
        return self._scheduler.now - self._heard_at > seconds * SECOND

    def stop(self, seconds: float) -> None:
        """As SIGSTOP does, and SIGCONT after so long."""
        for task in self._tasks:
            task.stopped_until = self._scheduler.now + int(seconds * SECOND)

    def kill(self) -> None:
        """As kill -9 does."""
        self.dead = True
        for task in self._tasks:
            self._scheduler.kill(task)

    def end(self) -> None:
        """It ends by its own will: the other tasks where they stand, then the one that says so."""
        self.kill()
        raise KilledError

    @property
    def running(self) -> bool:
        return not self.dead and not all(task.ended for task in self._tasks)

"""One seeded order of everything that happens: tasks take turns wherever they call out, in virtual time.

A task is a greenlet. It runs alone until it pauses; the one whose time comes first goes on. Nothing here waits for
real, and nothing depends on anything but the seed.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from zlib import crc32

from greenlet import getcurrent, greenlet

SECOND = 1_000_000
MOST_STEPS = 200_000
"""No history needs so many: something is turning without a rest."""


class KilledError(BaseException):
    """Ends a task whose process was killed; nothing of the product catches it."""


class Trace:
    """Every step, as a checksum, and as text where somebody wants to read it."""

    def __init__(self, *, kept: bool) -> None:
        self.checksum = 0
        self.steps = 0
        self.lines: list[str] | None = [] if kept else None

    def note(self, now: int, who: str, what: str) -> None:
        self.steps += 1
        line = f"{now} {who} {what}"
        self.checksum = crc32(line.encode(), self.checksum)
        if self.lines is not None:
            self.lines.append(f"{now / SECOND:12.6f}  {who:<16} {what}")


class Task:
    """One thread of one process. `stopped_until` holds it back, and all others of its process."""

    def __init__(self, name: str, run: greenlet) -> None:
        self.name = name
        self.greenlet = run
        self.stopped_until = 0
        self.ended = False


class Scheduler:
    """Runs tasks until all have ended or it is asked to halt. `now` is the true time, in microseconds."""

    def __init__(self, trace: Trace) -> None:
        self.now = 0
        self.trace = trace
        self._waiting: list[tuple[int, int, Task]] = []
        self._number = 0
        self._current: Task | None = None
        self._hub = getcurrent()
        self._halted = False
        self.endless: Callable[[], None] = self.halt

    def spawn(self, name: str, work: Callable[[], None], failed: Callable[[BaseException], None]) -> Task:
        """Have this done beside everything else; `failed` gets what it raises, but for KilledError."""

        def run() -> None:
            try:
                work()
            except KilledError:
                pass
            except BaseException as error:  # noqa: BLE001 - whatever ends a task by itself is looked at
                failed(error)
            task.ended = True

        task = Task(name, greenlet(run, self._hub))  # not the one that begins it: what ends goes to its parent
        self._push(self.now, task)
        return task

    def pause(self, microseconds: int, what: str) -> None:
        """Let so much time pass for the running task; others may go on meanwhile."""
        task = self._current
        assert task is not None, "only tasks pause"
        until = self.now + microseconds
        if not self._waiting or until < self._waiting[0][0]:
            self.now = until
        else:
            self._push(until, task)
            self._hub.switch()
        self.trace.note(self.now, task.name, what)

    def say(self, text: str) -> None:
        """Put a remark of the running task into the trace; it is no step."""
        if self.trace.lines is not None and self._current is not None:
            self.trace.lines.append(f"{self.now / SECOND:12.6f}  {self._current.name:<16}   {text}")

    def run(self) -> None:
        """Go on until there is nothing left to do, or `halt`."""
        self._hub = getcurrent()
        self._halted = False
        while self._waiting and not self._halted:
            if self.trace.steps > MOST_STEPS:
                self.endless()
            at, _, task = heappop(self._waiting)
            if task.ended:
                continue
            if task.stopped_until > at:
                self._push(task.stopped_until, task)
                continue
            self.now = max(self.now, at)
            self._current = task
            task.greenlet.switch()
            self._current = None

    def halt(self) -> None:
        """Have `run` return once the running task pauses or ends."""
        self._halted = True

    def kill(self, task: Task) -> None:
        """End a task where it stands; its process refuses whatever it still wants to call."""
        if not task.ended and task.greenlet is not getcurrent():
            task.ended = True
            if task.greenlet:  # it has begun
                running, task.greenlet.parent, self._current = self._current, getcurrent(), task
                task.greenlet.throw(KilledError)
                self._current = running

    def _push(self, at: int, task: Task) -> None:
        self._number += 1
        heappush(self._waiting, (at, self._number, task))

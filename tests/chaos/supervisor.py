"""The product's processes as a supervisor runs them: what ends is started again, and why it ended is judged."""

import json
import random
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from chaos.timeline import Timeline
from support.commands import HERE
from support.process import Process, wait_until

_BLOCKED = "blocked by the deletion guard"
"""So many random deletions, beside consumers that are behind, may well be too much."""
_COULD_NOT_RUN = 2
_TERMINATED = {128 + signal.SIGTERM, -signal.SIGTERM}
_RESTART_SECONDS = 1.0
_STOP_SECONDS = 60.0


class Supervised:
    """One process of ours. Looked after by `look`, which is called several times a second.

    It may end by itself only where it could not start: exit code 2 before it said that it is at work, while something
    was out of order on purpose (`trouble`). Any other end that nobody asked for is a failure. `storage`: its own
    folder, where it shows that it lives.
    """

    def __init__(  # noqa: PLR0913, PLR0917  what a process is started with
        self,
        name: str,
        words: list[str],
        env: Mapping[str, str],
        log: Path,
        timeline: Timeline,
        storage: Path | None = None,
    ) -> None:
        self.name = name
        self.failures: list[str] = []
        self.refused = 0
        """How often it could not start."""
        self.log = log
        self._words = words
        self._env = env
        self._timeline = timeline
        self._storage = storage
        self._process: Process | None = None
        self._started = 0.0
        self._said = 0
        self._asked = False
        self._asked_again = False
        self._troubled = False
        self._start_at: float | None = time.monotonic()
        self._random = random.Random(name)  # noqa: S311  no secret is made of it

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def look(self, *, trouble: bool) -> None:
        """Start it where that is due; notice that it ended."""
        self._troubled |= trouble
        if self._process is None:
            if self._start_at is not None and time.monotonic() >= self._start_at:
                self._start(trouble=trouble)
        elif not self._process.running:
            self._judge(self._process)
            self._process = None
            self._start_at = time.monotonic() + _RESTART_SECONDS * self._random.uniform(0.2, 2)

    def kill(self, *, down: float = 0.0) -> None:
        """`kill -9`; it is started again, at the earliest after so many seconds."""
        if self._process is not None:
            self._asked = True
            self._process.kill()
            self._process = None
        self._start_at = time.monotonic() + max(down, _RESTART_SECONDS * self._random.uniform(0.2, 2))

    def pause(self) -> None:
        if self._process is not None:
            self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self._process is not None:
            self._process.signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask it to end; it is started again."""
        if self._process is not None and self._process.running:
            self._asked_again, self._asked = self._asked, True
            self._process.signal(signal.SIGTERM)

    def finish(self) -> None:
        """End it for good, as it should: with exit code 0, within a minute."""
        self._start_at = None
        if self._process is None or not self._process.running:
            return
        self._asked_again, self._asked = self._asked, True
        self._process.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            wait_until(lambda: not self.running, "its end", _STOP_SECONDS)
        self.abort()
        self._judge(self._process)
        self._process = None

    def abort(self) -> None:
        """Let it write where all its threads stand, and end: for a process that hangs."""
        if self._process is not None and self._process.running:
            self._process.signal(signal.SIGABRT)
            self._process.stop()

    def at_work(self) -> bool:
        """Whether, since it started, it touched its sign of life, or said anything but why it could not start."""
        beats = (path.stat().st_mtime for path in self._storage.glob("alive*")) if self._storage is not None else ()
        return any(at > self._started for at in beats) or any(_level(line) == "info" for line in self._lines())

    def _start(self, *, trouble: bool) -> None:
        self._said = self.log.stat().st_size if self.log.exists() else 0
        self._asked, self._asked_again, self._troubled, self._start_at = False, False, trouble, None
        self._started = time.time()
        program, *arguments = self._words
        self._process = Process([HERE / program, *arguments], self.log, cwd=self.log.parent, env=self._env)
        self._timeline.note("start", process=self.name, pid=self._process.pid)

    def _judge(self, process: Process) -> None:
        code = process.returncode
        self._timeline.note("end", process=self.name, code=code, asked=self._asked)
        at_once = self._asked_again or not self.at_work()
        if self._asked and (code == 0 or (code in _TERMINATED and at_once)):
            return
        if code == _COULD_NOT_RUN and self._troubled and not self.at_work():
            self.refused += 1
            return
        why = "did not end in order when asked to" if self._asked else "ended by itself"
        self.failures.append(f"{self.name} {why}: exit code {code}; {' | '.join(self._lines()[-3:])[-1000:]}")

    def _lines(self) -> list[str]:
        if not self.log.exists():
            return []
        with self.log.open("rb") as file:
            file.seek(self._said)
            return file.read().decode(errors="replace").splitlines()


def _level(line: str) -> str | None:
    """The level of a line of the product's JSON log; None for another line."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return str(entry.get("level")) if isinstance(entry, dict) else None


class Job:
    """A command of ours that ends by itself: a rebuild, say. What it may end with depends on what was out of order."""

    def __init__(self, name: str, words: list[str], env: Mapping[str, str], log: Path, timeline: Timeline) -> None:
        self.name = name
        self.words = words
        self.failures: list[str] = []
        self.log = log
        self.code: int | None = None
        self._timeline = timeline
        self._troubled = False
        program, *arguments = words
        self._process: Process | None = Process([HERE / program, *arguments], log, cwd=log.parent, env=env)
        timeline.note("job", job=name, words=words, pid=self._process.pid)

    @property
    def running(self) -> bool:
        return self._process is not None

    def look(self, *, trouble: bool) -> None:
        """Notice that it ended: 0 and 1 are results, 2 is one if something was out of order, or is to be confirmed."""
        self._troubled |= trouble
        if self._process is None or self._process.running:
            return
        self.code = self._process.returncode
        self._process = None
        self._timeline.note("job ended", job=self.name, code=self.code)
        said = self.log.read_text(errors="replace")[-1000:]
        refused = self.code == _COULD_NOT_RUN and (self._troubled or _BLOCKED in said)
        if self.code not in {0, 1} and not refused:
            self.failures.append(f"{' '.join(self.words)} ended with code {self.code}: {said}")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None
            self._timeline.note("job killed", job=self.name)

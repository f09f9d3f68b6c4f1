"""After the faults: waits until all is as it must be, or until nothing moves any more, and says what is wrong."""

import time
from collections import Counter
from pathlib import Path

from chaos import expectation
from chaos.expectation import differences, expected, files, scoped
from chaos.kafka_stand import CHANGED, EVENTS
from chaos.world import SCOPE, World

_STALLED_SECONDS = 180.0
"""Nothing moved for so long: longer than any lease, session or pause of the product's."""
_CONFIRM_SECONDS = 20.0
_MOST_CONFIRMATIONS = 3
"""What is confirmed before the consumers have read everything does not count for what they read then."""
_LOOK_SECONDS = 1.0
_TRACEBACK = "Traceback (most recent call last)"


class Verdict:
    """Of one world. `failures` is empty where everything holds."""

    def __init__(self, world: World) -> None:
        self.failures: list[str] = []
        self.recovery_seconds: float | None = None
        self.confirmations = 0
        """How often an operator had to confirm what the deletion guard blocked."""
        self._world = world
        self._said = self._sizes()

    def reach(self) -> None:
        """Wait, demand, end the processes, and demand again."""
        began = time.monotonic()
        left = self._wait_for_quiet()
        self._world.timeline.note("quiet" if not left else "stalled", wrong=left[:50])
        if left:
            self.failures += left
            for process in self._world.processes:
                process.abort()
        else:
            self.recovery_seconds = round(time.monotonic() - began, 1)
            self._rebuild_finds_nothing()
            if number := expectation.dead_letters(self._world):
                self.failures.append(f"{number} dead letters of the product's own events")
            self.failures += [f"after the rebuild: {line}" for line in self._wrong()]
        self._finish_processes()
        if not left:
            self.failures += [f"after the end: {line}" for line in self._wrong_files()]
        self.failures += [f"a file that is not ours was touched: {path}" for path in self._world.strangers()]

    # -------------------------------------------------------------------------------------------------------- waiting

    def _wait_for_quiet(self) -> list[str]:
        """What is still wrong when nothing moves any more; empty once all is right."""
        moved, signature = time.monotonic(), 0
        while True:
            self._world.wait(_LOOK_SECONDS)
            wrong = self._wrong_files()
            now = hash((tuple(wrong), self._ends()))
            if now != signature:
                moved, signature = time.monotonic(), now
            if not wrong and all(process.running for process in self._world.processes) and not self._jobs():
                wrong = self._wrong_announcements() or self._waiting()
                if not wrong:
                    return []
            still = time.monotonic() - moved
            if still > _CONFIRM_SECONDS and self.confirmations < _MOST_CONFIRMATIONS and self._blocked():
                self._confirm()
                moved = time.monotonic()
            elif still > _STALLED_SECONDS:
                return wrong + self._not_running()

    def _waiting(self) -> list[str]:
        """A reading of before the faults ended may change for a moment what is right."""
        number = 0 if self._world.kafka is None else self._world.kafka.waiting()
        return [f"{number} events were not consumed"] if number else []

    def _jobs(self) -> list[str]:
        return [job.name for job in self._world.jobs if job.running]

    def _not_running(self) -> list[str]:
        idle = [f"{one.name} does not run" for one in self._world.processes if not one.running]
        return idle + [f"{name} does not end" for name in self._jobs()]

    def _ends(self) -> int:
        """Of all topics, or of the file of announcements."""
        if self._world.kafka is None:
            return _size(self._world.storage / "snapshot-changed.jsonl")
        return sum(self._world.kafka.ends((*EVENTS, CHANGED)).values())

    def _blocked(self) -> bool:
        """Whether the deletion guard asked for a confirmation since the faults ended, or since the last one."""
        return any("--prune-all" in _since(one.log, self._said[one.name]) for one in self._world.processes)

    def _confirm(self) -> None:
        """What the log asks the operator for."""
        self.confirmations += 1
        self._command("confirm", ["snapshot-rebuild", "--all", "--prune-all"])
        self._said = self._sizes()

    def _sizes(self) -> dict[str, int]:
        return {process.name: _size(process.log) for process in self._world.processes}

    # -------------------------------------------------------------------------------------------------------- demands

    def _wrong(self) -> list[str]:
        return self._wrong_files() or self._wrong_announcements()

    def _wrong_files(self) -> list[str]:
        wanted = expected(self._world)
        wrong = differences(wanted, files(self._world.profiles), "file")
        if self._world.traits.scoped:
            wrong += differences(scoped(wanted), files(self._world.scoped), f"file in the folder of {SCOPE}")
        return wrong

    def _wrong_announcements(self) -> list[str]:
        wanted = expected(self._world)
        announced = expectation.announced(self._world)
        wrong = differences(wanted, expectation.last_by_order(announced), "last announcement of")
        if self._world.clock is None:  # else sequences follow a store's clock that went back
            wrong += differences(
                wanted, expectation.last_by_sequence(announced), "announcement with the highest sequence of"
            )
        return wrong

    def _rebuild_finds_nothing(self) -> None:
        said = self._command("judge", ["snapshot-rebuild", "--all", "--dry-run", "--deep"])
        if said is not None:
            self.failures.append(f"snapshot-rebuild --all --dry-run --deep: {said}")

    def _command(self, name: str, words: list[str]) -> str | None:
        """Run a command to its end; what it said where it ended with another code than 0."""
        job = self._world.run(name, words)
        deadline = time.monotonic() + _STALLED_SECONDS
        while job.running and time.monotonic() < deadline:
            self._world.wait(0.2)
        if job.running:
            job.kill()
            return "it does not end"
        return None if job.code == 0 else f"exit code {job.code}: {job.log.read_text(errors='replace')[-3000:]}"

    def _finish_processes(self) -> None:
        for process in self._world.processes:
            process.finish()
        for process in self._world.processes:
            self.failures += process.failures
        for job in self._world.jobs:
            self.failures += job.failures
        self.failures += self._world.failures
        self.failures += [f"a writer of the harness ended: {error!r}" for error in self._world.writers.crashed]
        self.failures += [line for log in sorted(self._world.logs.glob("*.log")) for line in tracebacks(log)]


def tracebacks(log: Path) -> list[str]:
    """How many there are in this log, by the error that each ends with."""
    text = log.read_text(errors="replace").replace("\\n", "\n")
    ends: Counter[str] = Counter()
    for one in text.split(_TRACEBACK)[1:]:
        lines = [line for line in one.splitlines()[1:] if line.strip() and not line.startswith(" ")]
        ends[lines[0][:300] if lines else "?"] += 1
    return [f"{number} tracebacks in {log.name}: {end}" for end, number in ends.items()]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _since(path: Path, start: int) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(start)
        return file.read().decode(errors="replace")

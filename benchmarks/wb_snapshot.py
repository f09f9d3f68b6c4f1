"""`wb signal-profile snapshot --all` against the plain scan, fold and write of the same rows: at most 1.5 times.

    python -m benchmarks.wb_snapshot [ROUNDS]

The two take turns, so that other load on the machine meets both. Wall and CPU seconds, start of the process included;
the median counts. Files are compared once.
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import whiteballoon

LIMIT = 1.5
PROCESSES = (1, 2)
WB = "import sys; from snapshot.wb import main; sys.argv[0] = 'wb'; main()"


class Cost(NamedTuple):
    """Seconds."""

    wall: float
    cpu: float


def measured(words: Sequence[str], environment: Mapping[str, str], codes: tuple[int, ...] = (0,)) -> Cost:
    """Run a program to its end, which must be with one of these exit codes."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    ended = subprocess.run(words, env=environment, cwd=whiteballoon.ROOT, check=False, stdout=subprocess.DEVNULL)  # noqa: S603 - our own
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode not in codes:
        raise SystemExit(f"{words[-4:]} ended with {ended.returncode}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu)


def median(costs: Sequence[Cost]) -> Cost:
    """Of each kind of seconds."""
    return Cost(statistics.median(one.wall for one in costs), statistics.median(one.cpu for one in costs))


def compare(one: Path, other: Path) -> None:
    """Both ways wrote the same profiles."""
    names = sorted(path.name for path in one.glob("*.json"))
    if names != sorted(path.name for path in other.glob("*.json")):
        raise SystemExit("the two wrote different profiles")
    different = [n for n in names if json.loads((one / n).read_bytes()) != json.loads((other / n).read_bytes())]
    if different:
        raise SystemExit(f"{len(different)} profiles differ, the first is {different[0]}")


def main() -> None:
    """Measure, print, and end with 1 where the limit is passed."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    databases = whiteballoon.create()
    work = Path(tempfile.mkdtemp(prefix="wb-snapshot-", dir=whiteballoon.FOLDER))
    environment = {**os.environ, **whiteballoon.urls(databases), "SNAPSHOT_STORAGE_DIR": str(work / "storage")}
    try:
        passed = [_in_turns(work, databases, environment, processes, rounds) for processes in PROCESSES]
    finally:
        shutil.rmtree(work)
    sys.exit(0 if all(passed) else 1)


def _in_turns(work: Path, databases: Path, environment: Mapping[str, str], processes: int, rounds: int) -> bool:
    plain, ours, again = [], [], []
    for number in range(rounds):
        yardstick, out = work / f"plain-{processes}-{number}", work / f"wb-{processes}-{number}"
        words = [sys.executable, "-c", WB, "signal-profile", "snapshot", "--all"]
        options = ["--workers", str(processes), "--output-dir", str(out)]
        plain.append(
            measured(
                [sys.executable, "-m", "benchmarks.plain", str(databases), str(yardstick), str(processes)], environment
            )
        )
        ours.append(measured([*words, *options], environment))
        again.append(measured([*words, *options], environment))
    compare(yardstick, out)
    base, first, second = median(plain), median(ours), median(again)
    print(f"{processes} process(es), {rounds} rounds  wall s   CPU s   times the yardstick's wall, CPU")
    for name, cost in (("plain", base), ("wb --all", first), ("wb again", second)):
        print(f"  {name:22} {cost.wall:8.2f} {cost.cpu:8.2f} {cost.wall / base.wall:8.2f} {cost.cpu / base.cpu:8.2f}")
    return first.wall <= LIMIT * base.wall


if __name__ == "__main__":
    main()

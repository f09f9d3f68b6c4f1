"""`snapshot-rebuild --all` on 400,000 comments: into an empty store, and with nothing to change.

The baselines are a plain scan and fold of the same rows in one process, with and without writing the files. Ratios are
of one run on one machine; seconds alone mean nothing here. The private Redis runs already, as beside a daemon, and its
CPU seconds are not in the rebuild's.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import whiteballoon
from benchmarks.wb_snapshot import Cost, compare, measured, median
from projections.store.redis import embedded

EMPTY_LIMIT = 3.0
IN_STEP_LIMIT = 1.3
REBUILD = "from snapshot.rebuild.command import main; main()"
_SCAN_AND_FOLD = "from benchmarks import plain; plain._write = lambda *_: None; plain.main()"


def main() -> None:
    """Measure, print, and end with 1 where a limit is passed."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    databases = whiteballoon.create()
    work = Path(tempfile.mkdtemp(prefix="rebuild-", dir=whiteballoon.FOLDER))
    try:
        costs = [_round(work / str(number), databases) for number in range(rounds)]
    finally:
        shutil.rmtree(work)
    names = ("scan + fold", "scan + fold + write", "rebuild, empty store", "rebuild, in step")
    fold, write, empty, in_step = (median(column) for column in zip(*costs, strict=True))
    print(f"1 process, {rounds} rounds           wall s   CPU s   times its yardstick's wall")
    for name, cost, base in zip(names, (fold, write, empty, in_step), (fold, write, write, fold), strict=True):
        print(f"  {name:24} {cost.wall:8.2f} {cost.cpu:8.2f} {cost.wall / base.wall:8.2f}")
    within = empty.wall <= EMPTY_LIMIT * write.wall and in_step.wall <= IN_STEP_LIMIT * fold.wall
    sys.exit(0 if within else 1)


def _round(work: Path, databases: Path) -> tuple[Cost, Cost, Cost, Cost]:
    settings = {**whiteballoon.urls(databases), "SNAPSHOT_STORAGE_DIR": str(work / "storage")}
    environment = {**os.environ, **settings}
    plain, ours = work / "plain", work / "ours"
    work.mkdir()
    fold = measured([sys.executable, "-c", _SCAN_AND_FOLD, str(databases), str(work / "nothing"), "1"], environment)
    write = measured([sys.executable, "-m", "benchmarks.plain", str(databases), str(plain), "1"], environment)
    words = [sys.executable, "-c", REBUILD, "--all", "--workers", "1", "--output-dir", str(ours)]
    (work / "storage").mkdir()
    with embedded.using(work / "storage"):
        empty = measured(words, environment, (0, 1))
        in_step = measured(words, environment)
    compare(plain, ours)
    return fold, write, empty, in_step


if __name__ == "__main__":
    main()

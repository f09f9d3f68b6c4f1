"""How much memory a full read takes: `wb --all`, and `snapshot-rebuild --all` into an empty store and in step.

    python -m benchmarks.large.memory [COPIES [URL]]

URL is a PostgreSQL database: an empty one is filled first. Without it SQLite is read. 430 copies are 10.2 million
comments of 639,200 profiles; that takes about half an hour. Counted is resident memory
of all processes of the command together, sampled; the private Redis, where the profiles are, runs beside it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import whiteballoon
from projections.store.redis import embedded

LIMIT = 512_000_000
_SAMPLE_SECONDS = 0.1
_PAGE = os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Measure, print, and end with 1 where the limit is passed."""
    urls = whiteballoon.chosen(whiteballoon.COPIES)
    work = Path(tempfile.mkdtemp(prefix="memory-", dir=whiteballoon.FOLDER))
    environment = {**os.environ, **urls, "SNAPSHOT_STORAGE_DIR": str(work / "storage")}
    out = ["--all", "--output-dir", str(work / "rebuilt")]
    try:
        (work / "storage").mkdir()
        with embedded.using(work / "storage"):
            highest = [
                _measured("wb --all", ["wb", "signal-profile", "snapshot", "--all"], environment),
                _measured("rebuild, empty store", ["snapshot-rebuild", *out], environment, (0, 1)),
                _measured("rebuild, in step", ["snapshot-rebuild", *out], environment),
            ]
    finally:
        shutil.rmtree(work)
    sys.exit(0 if max(highest) <= LIMIT else 1)


def _measured(name: str, words: Sequence[str], environment: Mapping[str, str], codes: tuple[int, ...] = (0,)) -> int:
    began, highest = time.monotonic(), 0
    command = [str(Path(sys.executable).with_name(words[0])), *words[1:]]
    with subprocess.Popen(command, env=environment, cwd=whiteballoon.ROOT, stdout=subprocess.DEVNULL) as running:  # noqa: S603 - our own
        while running.poll() is None:
            highest = max(highest, _resident(running.pid))
            time.sleep(_SAMPLE_SECONDS)
    if running.returncode not in codes:
        raise SystemExit(f"{name} ended with {running.returncode}")
    print(f"{name:22} {highest / 1e6:6.0f} MB {time.monotonic() - began:8.1f} s", flush=True)
    return highest


def _resident(process: int) -> int:
    """Bytes of a process and of all that it started; 0 where it has just ended."""
    try:
        mine = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
        threads = list(Path(f"/proc/{process}/task").glob("*/children"))
        children = [int(child) for thread in threads for child in thread.read_text(encoding="ascii").split()]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return mine + sum(map(_resident, children))


if __name__ == "__main__":
    main()

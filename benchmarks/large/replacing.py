"""What the file system of a folder takes to replace small files: python -m benchmarks.large.replacing FOLDER [FILES].

As the flusher does it: all new files are written, flushed together by one syncfs, and renamed over the old ones.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from snapshot.files.disk import LOCAL

_BYTES = 900
_ROUNDS = 3


def main() -> None:
    """Print the milliseconds a file of each step, the first round creating, the others replacing."""
    files = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000  # noqa: PLR2004 - the number's place
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as name:
        folder = Path(name)
        for number in range(_ROUNDS):
            began = time.perf_counter()
            waiting = [_written(folder / f"{one}.new") for one in range(files)]
            written = time.perf_counter()
            LOCAL.flush_together(name, waiting)
            flushed = time.perf_counter()
            for one in range(files):
                os.replace(waiting[one], folder / f"{one}.json")  # noqa: PTH105 - as the product does
            steps = (written - began, flushed - written, time.perf_counter() - flushed)
            kind = "creating" if number == 0 else "replacing"
            print(kind, *(f"{one / files * 1_000:.3f}" for one in steps), "ms a file to write, flush, rename")


def _written(path: Path) -> str:
    path.write_bytes(b"x" * _BYTES)
    return str(path)


main()

"""`make bench`: all benchmarks, one after the other; exit code 1 where one passed its limit."""

import subprocess
import sys

ALL = ("wb_snapshot", "rebuild", "sweep")

if __name__ == "__main__":
    words = [[sys.executable, "-m", f"benchmarks.{name}"] for name in ALL]
    ended = [subprocess.run(one, check=False).returncode for one in words]  # noqa: S603 - our own
    sys.exit(max(ended))

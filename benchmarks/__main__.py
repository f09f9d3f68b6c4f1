"""`make bench`: all benchmarks, one after the other; exit code 1 where one passed its limit."""

import subprocess
import sys

ALL = ("wb_snapshot", "rebuild", "sweep")

if __name__ == "__main__":
    commands = [[sys.executable, "-m", f"benchmarks.{name}"] for name in ALL]
    codes = [subprocess.run(one, check=False).returncode for one in commands]  # noqa: S603 - our own
    sys.exit(max(codes))

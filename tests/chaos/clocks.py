"""Clock steps for the product's processes, by libfaketime."""

from pathlib import Path

from chaos.traits import LIBFAKETIME

# Python sleeps until an absolute monotonic time, which libfaketime 0.9.10 gets wrong where it leaves that clock alone.
_SLEEP = """import select
import time

time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""


class Clock:
    """One wall clock for all processes that get `environment`; the monotonic one goes on undisturbed."""

    def __init__(self, folder: Path) -> None:
        (folder / "sitecustomize.py").write_text(_SLEEP)
        self._file = folder / "offset"
        self.step(0)
        self.environment = {
            "LD_PRELOAD": str(LIBFAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "PYTHONPATH": str(folder),
        }

    def step(self, seconds: int) -> None:
        """From now on it is off by so many seconds."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.replace(self._file)

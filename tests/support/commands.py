"""Running the project's own commands as a user does: as processes, from outside."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

HERE = Path(sys.executable).parent
_OURS = (
    "DATABASE_URL",
    "INSIGHTS_DATABASE_URL",
    "REDIS_URL",
    "KAFKA_",
    "SNAPSHOT_",
    "GROUP_SLUG",
    "STATSD_",
    "PROFILE_",
)


def environment(**settings: str) -> dict[str, str]:
    """This process' environment without settings of ours, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**kept, **settings}


def on(databases: Path, storage: Path, **further: str) -> dict[str, str]:
    """The environment for the two SQLite files of a folder."""
    return environment(
        DATABASE_URL=f"sqlite:///{databases / 'app.db'}",
        INSIGHTS_DATABASE_URL=f"sqlite:///{databases / 'comment_llm_insights.db'}",
        SNAPSHOT_STORAGE_DIR=str(storage),
        **further,
    )


def run(*words: str, env: Mapping[str, str], timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end."""
    program, *arguments = words
    return subprocess.run(
        [HERE / program, *arguments], env=env, capture_output=True, text=True, timeout=timeout, check=False
    )


class Started:
    """A command of ours that runs in the background; `with` ends it whatever happens."""

    def __init__(self, *words: str, env: Mapping[str, str], log: Path) -> None:
        program, *arguments = words
        self._log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen([HERE / program, *arguments], env=env, stdout=output, stderr=output)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def said(self) -> str:
        """What it wrote so far."""
        return self._log.read_text(encoding="utf-8")

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.kill()
        self.process.wait()

    def terminate(self, timeout: float) -> int:
        """Ask it to end, and give its exit code; fails if it does not within this time."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def until(self, there: Callable[[], bool], timeout: float = 60.0) -> None:
        """Wait until something holds; fails with what the command said if it never does, or if it ends."""
        deadline = time.monotonic() + timeout
        while not there():
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.said()}"
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)

"""The nightly reconcile: `snapshot-rebuild --all`, in a process of its own so that the daemon keeps its processor."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from projections.errors import OperatorError

_POLL_SECONDS = 0.5
_TERMINATE_SECONDS = 2.0
_RAN = (0, 1)
_PROGRAM = "from snapshot.cli.start import rebuild; rebuild()"


def nightly_rebuild(output_dir: Path, environment: Mapping[str, str]) -> Callable[[threading.Event], None]:
    """What `consumer.daemon.schedule.Nightly` runs; `environment` are the daemon's own options."""
    words = [sys.executable, "-c", _PROGRAM, "--all", "--output-dir", str(output_dir), "--workers", "1"]
    return lambda stopping: _run(words, environment, stopping)


def _run(words: Sequence[str], environment: Mapping[str, str], stopping: threading.Event) -> None:
    """Run to the end; where `stopping` is set, end it: what it has repaired is kept, and the next run does the rest."""
    inherited = {name: value for name, value in os.environ.items() if name not in environment}
    environment = {**inherited, **environment}
    with subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL) as process:  # noqa: S603 - our own words
        while process.poll() is None:
            if stopping.wait(_POLL_SECONDS):
                _end(process)
                return
    if process.returncode not in _RAN:
        raise OperatorError(
            f"snapshot-rebuild failed with exit code {process.returncode}; its reason is in the log above"
        )


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_TERMINATE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()

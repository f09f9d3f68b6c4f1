"""A signal ends a program wherever it comes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, time

def end(number, frame):
    raise SystemExit(128 + number)

class Connection:
    def __del__(self):
        os.kill(os.getpid(), signal.{signal})

def main():
    signal.signal(signal.SIGTERM, end)
    Connection()
    time.sleep(60)
"""


@pytest.mark.parametrize(("signal", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_in_a_destructor_is_not_lost(tmp_path: Path, signal: str, code: int) -> None:
    (tmp_path / "program.py").write_text(PROGRAM.format(signal=signal))
    words = [sys.executable, "-c", "from snapshot.cli.start import start; start('program', 'main')"]
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[4])])
    ended = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=50, check=False
    )
    assert (ended.returncode, ended.stderr) == (code, "")

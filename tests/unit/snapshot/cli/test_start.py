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


def run_program(folder: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", "from snapshot.cli.start import start; start('program', 'main')"]
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[4])])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=50, check=False)


@pytest.mark.parametrize(("signal", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_in_a_destructor_is_not_lost(tmp_path: Path, signal: str, code: int) -> None:
    (tmp_path / "program.py").write_text(PROGRAM.format(signal=signal))
    ended = run_program(tmp_path)
    assert (ended.returncode, ended.stderr) == (code, "interrupted\n" if signal == "SIGINT" else "")


SLOW = """
import os, signal, time

os.kill(os.getpid(), signal.SIGINT)
time.sleep(60)
"""


@pytest.mark.parametrize("where", ["", "def main():"])
def test_ctrl_c_is_one_line_whether_a_program_is_still_imported_or_runs(tmp_path: Path, where: str) -> None:
    body = SLOW if not where else where + SLOW.replace("\n", "\n    ")
    (tmp_path / "program.py").write_text(body)
    ended = run_program(tmp_path)
    assert (ended.returncode, ended.stderr) == (130, "interrupted\n")


LATE = """
import atexit, os, signal

def main():
    atexit.register(os.kill, os.getpid(), signal.SIGINT)
    raise SystemExit({code})
"""


@pytest.mark.parametrize("code", [0, 2])
def test_ctrl_c_after_the_work_is_done_changes_no_exit_code(tmp_path: Path, code: int) -> None:
    (tmp_path / "program.py").write_text(LATE.format(code=code))
    ended = run_program(tmp_path)
    assert (ended.returncode, ended.stderr) == (code, "")


TWICE = """
import os, signal, time

def main():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        print("closed")
"""


def test_ctrl_c_twice_is_one_line_and_interrupts_no_clean_up(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(TWICE)
    ended = run_program(tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "closed\n", "interrupted\n")


def test_nothing_slow_is_imported_before_ctrl_c_is_handled() -> None:
    """Until then Python answers it with a traceback."""
    ask = "import sys; import consumer.commands.programs; print(*sys.modules)"
    known = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    assert "snapshot.cli.start" in known
    assert not {"importlib.metadata", "logging", "subprocess", "typer", "typing"} & set(known)

"""Whose sign of life a file is: its process may have been killed, and its number be another's by now."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from consumer.process.alive_files import alive_file, remove_left, running

HOST = socket.gethostname()


def touched(storage: Path, name: str, seconds_ago: float = 0.0) -> Path:
    file = storage / name
    file.touch()
    at = time.time() - seconds_ago
    os.utime(file, (at, at))
    return file


def test_each_process_has_a_file_of_its_own_unless_one_is_given(tmp_path: Path) -> None:
    assert alive_file(tmp_path, None).name.startswith("alive-")
    assert alive_file(tmp_path, None).name.endswith(f"-{os.getpid()}")
    assert alive_file(tmp_path, tmp_path / "given") == tmp_path / "given"


def test_a_number_that_another_process_has_by_now(tmp_path: Path) -> None:
    left = touched(tmp_path, f"alive-{HOST}-{os.getpid()}", 365 * 86_400)
    assert running(tmp_path) == []
    left.touch()
    assert running(tmp_path) == [left]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_one_that_was_killed_and_not_waited_for(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert ended.stdout is not None
    ended.stdout.read()
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    touched(tmp_path, f"alive-{HOST}-{ended.pid}")
    assert running(tmp_path) == []
    ended.communicate()


def test_what_killed_processes_of_this_host_left_is_removed(tmp_path: Path) -> None:
    mine = touched(tmp_path, f"alive-{HOST}-{os.getpid()}")
    others = [
        touched(tmp_path, f"alive-another-host-{os.getpid()}", 365 * 86_400),
        touched(tmp_path, f"alive-{HOST}-²", 365 * 86_400),
        touched(tmp_path, f"alive-{HOST}-0", 365 * 86_400),
    ]
    written = touched(tmp_path, f"alive-{HOST}-{10**20}")
    written.write_text("another program's")
    touched(tmp_path, f"alive-{HOST}-{10**21}")
    touched(tmp_path, f"alive-{HOST}-{os.getppid()}", 365 * 86_400)
    remove_left(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([mine, *others, written])
    remove_left(tmp_path / "missing")

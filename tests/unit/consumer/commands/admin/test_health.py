"""The health of this host's process, by its file alone."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from consumer.commands.admin.status.health import MOST_SECONDS, Health, health


def alive(storage: Path, pid: int, at: float, host: str = socket.gethostname()) -> Path:
    file = storage / f"alive-{host}-{pid}"
    file.touch()
    os.utime(file, (at, at))
    return file


def test_a_file_that_is_given(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    assert not health(tmp_path, file).alive
    file.touch()
    os.utime(file, (1000, 1000))
    assert health(tmp_path, file, lambda: 1000 + MOST_SECONDS).alive
    assert health(tmp_path, file, lambda: 1001 + MOST_SECONDS) == Health(
        alive=False, said=f"the last sign of life was 31 s ago: {file}"
    )


def test_the_processes_that_run_here(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    alive(tmp_path, ended.pid, 0)
    alive(tmp_path, os.getpid(), 0, "another-host")
    assert health(tmp_path, None).said.startswith("no process of ours runs on this host")
    mine = alive(tmp_path, os.getpid(), 1000)
    assert health(tmp_path, None, lambda: 1001) == Health(alive=True, said=f"alive: {mine}")
    alive(tmp_path, os.getppid(), 900)
    assert not health(tmp_path, None, lambda: 1001).alive

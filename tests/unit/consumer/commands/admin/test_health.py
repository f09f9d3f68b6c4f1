"""The health of this host's process, by its file alone."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
    now = time.time()
    mine = alive(tmp_path, os.getpid(), now)
    assert health(tmp_path, None, lambda: now + 1) == Health(alive=True, said=f"alive: {mine}")
    alive(tmp_path, os.getppid(), 0)  # of a process that had this number before
    assert health(tmp_path, None, lambda: now + 1).alive
    alive(tmp_path, os.getppid(), now)
    assert not health(tmp_path, None, lambda: now + 31).alive


def test_what_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert health(tmp_path / "missing", None).said.startswith("no process of ours runs on this host")

    def refuse(path: Path, **_: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    found = health(tmp_path, None)
    fix = "can't be read (Permission denied); ask as the user whom the daemon runs as"
    assert (found.alive, f"{tmp_path} {fix}" in found.said) == (False, True)
    monkeypatch.setattr(Path, "stat", refuse)
    assert health(tmp_path, tmp_path / "alive").said.startswith(f"no sign of life can be read: {tmp_path / 'alive'}: ")

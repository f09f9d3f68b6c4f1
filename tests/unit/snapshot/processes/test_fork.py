"""Work in several processes. Each test forks in a process of its own: other tests leave threads behind in this one."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from snapshot.processes import fork
from support.process import wait_until

SQUARES = """
held = threading.Lock()  # not to be pickled: inherited

def work(number):
    with held:
        return number * number, os.getpid()

results = list(fork.map_forked(work, range(50), 2))
assert [square for square, _ in results] == [number * number for number in range(50)]
assert os.getpid() not in {process for _, process in results}
assert [process for _, process in fork.map_forked(work, range(3), 1)] == [os.getpid()] * 3
print("done")
"""

FAILING = """
def work(number):
    if number == 3:
        raise OperatorError("the database is unreachable")
    return number

list(fork.map_forked(work, range(10), 2))
"""

KILLED = """
def work(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number

list(fork.map_forked(work, range(10), 2))
"""

SLEEPING = """
def work(number):
    pathlib.Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(600)

list(fork.map_forked(work, range(8), 2))
"""


def python(script: str, *arguments: str) -> list[str]:
    imports = "import os, pathlib, signal, sys, threading, time\nfrom projections.errors import OperatorError\n"
    return [sys.executable, "-W", "error", "-c", f"{imports}from snapshot.processes import fork\n{script}", *arguments]


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        (SQUARES, 0, "done"),
        (FAILING, 1, "OperatorError: the database is unreachable"),
        (KILLED, 1, "OperatorError: a worker process was killed"),
    ],
    ids=["in order, elsewhere, nothing pickled", "an error is the caller's", "a killed process is said in words"],
)
def test_work_in_other_processes(script: str, code: int, said: str) -> None:
    ended = subprocess.run(python(script), capture_output=True, text=True, check=False, timeout=120)
    assert (ended.returncode, said in ended.stdout + ended.stderr) == (code, True), ended.stderr


def test_how_many_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    assert fork.workers(None, 100, 0) == min(len(os.sched_getaffinity(0)), 4)
    assert fork.workers(3, 100, 0) == 3
    assert fork.workers(3, 2, 0) == 2
    assert fork.workers(3, 0, 0) == 1
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    assert fork.workers(3, 100, 0) == 1


def test_no_process_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(python(SLEEPING, str(tmp_path)))
    try:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2, "both processes work", 30)
    finally:
        parent.kill()
        parent.wait()
    children = [int(path.name) for path in tmp_path.iterdir()]
    wait_until(lambda: not any(map(runs, children)), "the processes have ended", 30)


def runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"

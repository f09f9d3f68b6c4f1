import os
import sys
from pathlib import Path

import pytest

from benchmarks import stand

MANY_BYTES = "kept = bytearray(60_000_000); import time; time.sleep(2)"


def test_memory_is_of_the_command_and_not_of_the_process_that_started_it(tmp_path: Path) -> None:
    ballast = bytearray(300_000_000)
    cost = stand.measured((sys.executable, "-c", MANY_BYTES), env=os.environ, log=tmp_path / "log")
    assert 55 < cost.memory < 200, len(ballast)
    assert cost.wall >= 2
    assert cost.cpu == cost.own > 0


def test_commands_that_run_at_the_same_time_are_counted_together(tmp_path: Path) -> None:
    spin = (sys.executable, "-c", "import time\nwhile time.process_time() < 0.2: pass")
    assert stand.measured(spin, spin, env=os.environ, log=tmp_path / "log").own >= 0.4


def test_a_command_that_fails_says_what_it_said(tmp_path: Path) -> None:
    words = (sys.executable, "-c", "raise SystemExit('no such table')")
    with pytest.raises(stand.FailedError, match="ended with 1: no such table"):
        stand.measured(words, env=os.environ, log=tmp_path / "log")
    assert stand.measured(words, env=os.environ, log=tmp_path / "log", codes=(0, 1)).wall > 0


def test_a_program_that_never_ends_costs_up_to_its_last_message(tmp_path: Path) -> None:
    ticks = tmp_path / "ticks"
    code = f"import time, pathlib; pathlib.Path({str(ticks)!r}).write_text('1'); time.sleep(60)"
    cost, wrong = stand.measured_until_complete(
        (sys.executable, "-c", code),
        env=os.environ,
        cwd=tmp_path,
        log=tmp_path / "log",
        servers=stand.ALONE,
        produced=lambda: len(ticks.read_text()) if ticks.exists() else 0,
        wrong=lambda: 0,
    )
    assert wrong == 0
    assert 0 < cost.wall < 60
    assert cost.memory > 1


def test_profiles_that_differ_or_are_missing_are_counted(tmp_path: Path) -> None:
    for folder, names in (("right", "abc"), ("out", "bcd")):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.json").write_text(name if name != "b" else folder)
    assert stand.differing(tmp_path / "right", tmp_path / "out") == 3

import os
import subprocess
import sys
from pathlib import Path

from simulation.history import run
from simulation.logs import quiet
from simulation.plan import draw
from simulation.scheduler import Trace


def checksum(seed: int) -> tuple[int, int]:
    quiet()
    outcome = run(draw(seed), Trace(kept=False))
    return outcome.steps, outcome.checksum


def test_a_seed_gives_the_same_history_to_the_step() -> None:
    assert checksum(3) == checksum(3)
    assert checksum(3) != checksum(4)


def test_a_seed_gives_the_same_history_whatever_python_hashes_by() -> None:
    program = "from simulation.test_histories import checksum; print([checksum(seed) for seed in range(20)])"
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1

"""Many histories, several processes at once. What was found is kept for each state of the code, so a run can go on."""

import hashlib
import json
import multiprocessing
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

from simulation.history import run
from simulation.logs import quiet
from simulation.plan import Plan, draw
from simulation.scheduler import Trace
from simulation.specimens import SPECIMENS

_ROOT = Path(__file__).parents[2]
_CODE = ("consumer", "projections", "snapshot", "tests/simulation", "tests/support")
KEPT = _ROOT / ".cache" / "simulation"
_SEEDS_A_TASK = 10
_TASKS_A_PROCESS = 100


class Result(NamedTuple):
    """What became of one seed; `seconds` of processor time."""

    seed: int
    violation: str | None
    steps: int
    seconds: float


def drawn(seed: int, specimen: int | None) -> Plan:
    """The plan of a seed."""
    return draw(seed) if specimen is None else SPECIMENS[specimen].plan(seed)


def one(seed: int, specimen: int | None = None) -> Result:
    """Run a seed's history in this process."""
    quiet()
    began = time.process_time()
    outcome = run(drawn(seed, specimen), Trace(kept=False))
    return Result(seed, outcome.violation, outcome.steps, time.process_time() - began)


def several(seeds: list[int], specimen: int | None) -> list[Result]:
    return [one(seed, specimen) for seed in seeds]


def code_state() -> str:
    """Tells one state of the code from another."""
    digest = hashlib.sha256()
    for folder in _CODE:
        for path in sorted((_ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Kept:
    """The results of earlier runs on this state of the code."""

    def __init__(self, specimen: int | None, folder: Path = KEPT) -> None:
        self._path = folder / f"{code_state()}{'' if specimen is None else f'-{specimen}'}.jsonl"

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a+", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self) -> dict[int, Result]:
        self._file.seek(0)
        found = [Result(*json.loads(line)) for line in self._file if line.endswith("\n")]
        return {result.seed: result for result in found}

    def add(self, results: Iterable[Result]) -> None:
        self._file.writelines(json.dumps(result) + "\n" for result in results)
        self._file.flush()


def histories(seeds: Iterable[int], specimen: int | None, workers: int) -> Iterator[list[Result]]:
    """Run these seeds in so many processes; the results as they come."""
    wanted = list(seeds)
    tasks = [wanted[at : at + _SEEDS_A_TASK] for at in range(0, len(wanted), _SEEDS_A_TASK)]
    # Tasks that a history leaves where they stand keep a third of a megabyte each.
    with multiprocessing.get_context("spawn").Pool(workers, maxtasksperchild=_TASKS_A_PROCESS) as pool:
        yield from pool.imap_unordered(partial(several, specimen=specimen), tasks)

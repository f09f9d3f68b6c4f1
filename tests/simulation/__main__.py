"""Histories of a simulated world, with `tests` on the path.

`python -m simulation SEED [--trace]` runs one; `python -m simulation --histories 20000 [--seed 0] [--workers 2]` many:
those that were run before on the same state of the code are not run again.
"""

import argparse
import sys

from simulation.history import History
from simulation.logs import quiet, traced
from simulation.plan import Plan
from simulation.runner import Kept, drawn, histories
from simulation.scheduler import Trace
from simulation.specimens import SPECIMENS

_SHOWN = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("replayed", type=int, nargs="?", metavar="SEED", help="run this history alone")
    parser.add_argument("--trace", action="store_true", help="print every step, and what the processes log")
    parser.add_argument("--histories", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--specimen", type=int, choices=SPECIMENS, help="histories that this fault of issue 10 needs")
    arguments = parser.parse_args()
    if arguments.replayed is not None:
        return _replay(drawn(arguments.replayed, arguments.specimen), trace=arguments.trace)
    seeds = range(arguments.seed, arguments.seed + arguments.histories)
    return _many(seeds, arguments.specimen, arguments.workers)


def _replay(plan: Plan, *, trace: bool) -> int:
    steps = Trace(kept=trace)
    history = History(plan, steps)
    if trace:
        traced(history.world.scheduler)
    else:
        quiet()
    outcome = history.run()
    _print(*(steps.lines or ()), plan)
    _print(f"{outcome.steps} steps, {outcome.seconds:.1f} s, checksum {outcome.checksum:08x}")
    _print(outcome.violation or "as it must be")
    return int(outcome.violation is not None)


def _many(seeds: range, specimen: int | None, workers: int) -> int:
    with Kept(specimen) as kept:
        known = kept.read()
        found = [known[seed] for seed in seeds if seed in known]
        for results in histories((seed for seed in seeds if seed not in known), specimen, workers):
            kept.add(results)
            found += results
    failed = sorted(result for result in found if result.violation is not None)
    for result in failed[:_SHOWN]:
        _print(f"seed {result.seed}: {result.violation}")
    steps, seconds = sum(result.steps for result in found), sum(result.seconds for result in found)
    _print(
        f"{len(found):,} simulated histories, {steps:,} steps, {seconds:.0f} s of processor time, {len(failed)} failed"
    )
    if failed:
        _print(f"again, step by step: make simulate REPLAY={failed[0].seed} TRACE=1")
    return int(bool(failed))


def _print(*lines: object) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())

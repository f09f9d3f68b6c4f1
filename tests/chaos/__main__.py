"""`python -m chaos --seeds 1-40 --seconds 60 --mode kafka --jobs 3`: the missing seeds are run, then all summed up."""

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import get_args

from chaos import results
from chaos.lacking import lacking
from chaos.run import run
from chaos.traits import Mode
from snapshot.kafka.settings import CLIENTS, KafkaSettings
from support.process import Process


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def seeds_of(text: str) -> list[int]:
    """`1-3,7` is 1, 2, 3 and 7."""
    found: list[int] = []
    for part in text.replace(" ", ",").split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos")
    parser.add_argument("--seeds", default="1-3")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--mode", choices=get_args(Mode), default="kafka")
    parser.add_argument("--client", choices=CLIENTS, help="of Kafka; without it, the one that the product would take")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--one", action="store_true", help="run a single seed here, and keep its result")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if (reason := lacking(options.mode)) is not None:
        parser.error(reason)
    client = KafkaSettings(bootstrap_servers="any:1", client=options.client).chosen_client
    folder = results.folder_of(results.product_version())
    seeds = seeds_of(options.seeds)
    if options.one:
        results.add(folder, run(seeds[0], options.mode, options.seconds, folder, client))
        return 0
    todo = results.missing(seeds, options.seconds, results.kept(folder, options.mode, client))
    _all(todo, options, client, folder)
    latest = {one.seed: one for one in results.kept(folder, options.mode, client)}
    outcomes = [latest[seed] for seed in seeds if seed in latest]
    _say(f"results in {folder}\n{results.summary(outcomes)}")
    return 0 if len(outcomes) == len(seeds) and not any(one.failures for one in outcomes) else 1


def _all(todo: list[int], options: argparse.Namespace, client: str, folder: Path) -> None:
    """Each seed in a process of its own, some at the same time."""
    running: dict[int, Process] = {}
    try:
        while todo or running:
            while todo and len(running) < options.jobs:
                seed = todo.pop(0)
                words = [sys.executable, "-m", "chaos", "--one", "--seeds", str(seed)]
                words += ["--seconds", str(options.seconds), "--mode", options.mode, "--client", client]
                running[seed] = Process(words, folder / f"{options.mode}-{client}-{seed}.log", cwd=Path.cwd())
                _say(f"seed {seed} began")
            for seed, process in list(running.items()):
                if not process.running:
                    del running[seed]
                    _say(f"seed {seed} ended{'' if process.returncode == 0 else ': ' + process.tail()}")
            time.sleep(0.2)
    finally:
        for process in running.values():
            process.stop(60)  # it ends its servers, and takes its disks off


if __name__ == "__main__":
    sys.exit(main())

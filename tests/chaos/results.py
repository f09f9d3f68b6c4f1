"""What the runs gave, kept per commit of the product, and what a reader wants to know of it."""

import hashlib
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from chaos.run import Outcome
from chaos.traits import Mode

ROOT = Path(__file__).parents[2]
PRODUCT = ("consumer", "projections", "snapshot")


def product_version() -> str:
    """The last commit that changes the product; with a mark of what is not committed yet."""
    commit = _git("log", "-1", "--format=%h", "--", *PRODUCT).strip()
    changed = _git("diff", "HEAD", "--", *PRODUCT)
    return commit + (f"+{hashlib.sha256(changed.encode()).hexdigest()[:7]}" if changed else "")


def folder_of(version: str) -> Path:
    folder = ROOT / ".cache" / "chaos" / version
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def kept(folder: Path, mode: Mode, client: str) -> list[Outcome]:
    """The results of a mode; with Kafka, of one of its clients."""
    path = folder / "results.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    found = [msgspec.json.decode(line, type=Outcome) for line in lines]
    return [one for one in found if one.mode == mode and (one.client == client or mode != "kafka")]


def add(folder: Path, outcome: Outcome) -> None:
    with (folder / "results.jsonl").open("ab") as file:
        file.write(msgspec.json.encode(outcome) + b"\n")


def missing(seeds: Iterable[int], seconds: float, outcomes: Sequence[Outcome]) -> list[int]:
    """The seeds that were not run for so long yet, or failed; the outcomes are of one mode and client."""
    done = {one.seed for one in outcomes if one.seconds >= seconds and not one.failures}
    return [seed for seed in seeds if seed not in done]


def summary(outcomes: Sequence[Outcome]) -> str:
    """Numbers of changes and faults, the slowest recovery, the seeds that failed."""
    changes, faults = Counter[str](), Counter[str]()
    for one in outcomes:
        changes.update(one.changes)
        faults.update(one.faults)
    recovered = [(one.recovery_seconds, one.seed) for one in outcomes if one.recovery_seconds is not None]
    slowest = max(recovered, default=None)
    failed = [one for one in outcomes if one.failures]
    lines = [
        f"{len(outcomes)} runs{_with(outcomes)}, {sum(one.seconds for one in outcomes):.0f} s of faults",
        f"{changes.total():,} changes: {_listed(changes)}",
        f"{faults.total():,} faults: {_listed(faults)}",
        f"starts refused while something was out of order: {sum(one.refused_starts for one in outcomes)}",
        f"confirmations that the deletion guard asked for: {sum(one.confirmed for one in outcomes)}",
        "no recovery" if slowest is None else f"slowest recovery: {slowest[0]} s (seed {slowest[1]})",
        f"failing seeds: {', '.join(str(one.seed) for one in failed) or 'none'}",
    ]
    for one in failed:
        lines += [f"  seed {one.seed} ({one.kept}):", *(f"    {line[:300]}" for line in one.failures[:8])]
    return "\n".join(lines)


def _with(outcomes: Sequence[Outcome]) -> str:
    clients = sorted({one.client for one in outcomes if one.mode == "kafka"})
    return f" with {' and '.join(clients)}" if clients else ""


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.most_common())


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=True).stdout

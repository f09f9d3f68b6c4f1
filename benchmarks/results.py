"""The figures that are kept: `benchmarks/results/<date>.json`; ratios are of two rows of one run only."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil
from confluent_kafka import libversion

from benchmarks.whiteballoon import ROOT
from projections.store.redis.embedded import server_binary
from support import kafka_broker

FOLDER = Path(__file__).with_name("results")
Figures = Mapping[str, float]
"""What one run of a row gave, by name; `benchmarks.report` has the names and their units."""


class Name(NamedTuple):
    """A row: what it was measured on, and what was done."""

    on: str
    row: str

    def __str__(self) -> str:
        return f"{self.on}: {self.row}"


class Run(msgspec.Struct):
    """One start of `python -m benchmarks`. `load` is the machine's, over a minute, at its start and at its end.

    `note` is what else has to be known.
    """

    at: str
    commit: str
    copies: int
    versions: dict[str, str]
    machine: dict[str, str | int]
    load: list[float]
    note: str = ""


class Row(msgspec.Struct):
    """A row as it was measured last, in the run that `run` names; each figure as often as it was measured."""

    on: str
    row: str
    run: str
    figures: dict[str, list[float]] = {}

    def median(self, figure: str) -> float | None:
        """The median of a figure; None where this row has none of that name."""
        values = self.figures.get(figure)
        return statistics.median(values) if values else None


class Results(msgspec.Struct):
    """All rows of one date. Rows that can't be measured here, and those that failed, each with why."""

    runs: dict[str, Run] = {}
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    failed: dict[str, str] = {}

    def find(self, name: Name) -> Row | None:
        """One row."""
        return next((row for row in self.rows if (row.on, row.row) == name), None)

    def median(self, name: Name, figure: str) -> float | None:
        """The median of one figure of one row; None where it was not measured."""
        row = self.find(name)
        return None if row is None else row.median(figure)

    def ratio(self, name: Name, base: Name, figure: str) -> float | None:
        """One row's figure as a multiple of another's; None where they were not measured in the same run."""
        one, other = self.find(name), self.find(base)
        if one is None or other is None or one.run != other.run:
            return None
        value, unit = one.median(figure), other.median(figure)
        return None if value is None or not unit else value / unit

    def add(self, name: Name, run: Run, figures: Figures) -> None:
        """Note what one more run of a row gave; what another start of the benchmarks found of it goes."""
        row = self.find(name)
        if row is None:
            row = Row(name.on, name.row, run.at)
            self.rows.append(row)
        elif row.run != run.at:
            row.run, row.figures = run.at, {}
        for figure, value in figures.items():
            row.figures.setdefault(figure, []).append(value)
        self.runs[run.at] = run
        self.runs = {at: one for at, one in self.runs.items() if any(row.run == at for row in self.rows)}
        self.skipped.pop(str(name), None)
        self.failed.pop(str(name), None)

    @property
    def wrong(self) -> int:
        """How many profiles came out wrong, in all rows."""
        return sum(int(max(row.figures.get("wrong", [0.0]))) for row in self.rows)


def begin(copies: int, note: str = "") -> Run:
    """Describe this start: code, versions, machine and its load."""
    return Run(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_commit(),
        copies=copies,
        versions=_versions(),
        machine={
            "processor": _processor(),
            "cores": os.cpu_count() or 0,
            "memory_gb": round(psutil.virtual_memory().total / 2**30),
            "niceness": os.getpriority(os.PRIO_PROCESS, 0),
        },
        load=[os.getloadavg()[0]] * 2,
        note=note,
    )


def place(run: Run, *, quick: bool) -> Path:
    """Where the results of this day are kept."""
    return FOLDER / f"{run.at[:10]}{'-quick' if quick else ''}.json"


def newest(folder: Path = FOLDER) -> Path:
    """The newest results of `make bench`; those of `make bench-quick` are for the eye only."""
    return max(path for path in folder.glob("*.json") if not path.stem.endswith("-quick"))


def load(path: Path) -> Results:
    """Read results; empty ones where there are none yet."""
    return msgspec.json.decode(path.read_bytes(), type=Results) if path.exists() else Results()


def keep(results: Results, path: Path) -> None:
    """Write results."""
    path.parent.mkdir(exist_ok=True)
    rounded = json.loads(msgspec.json.encode(results), parse_float=lambda text: float(f"{float(text):.5g}"))
    path.write_text(json.dumps(rounded, indent=1) + "\n")


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603, S607 - fixed

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--", "*.py", "*.lua") else "")


def _versions() -> dict[str, str]:
    ours = ("kafka-python", "confluent-kafka", "redis", "msgspec")
    redis = subprocess.run([server_binary(), "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603 - as the stand runs it
    return {
        "Python": platform.python_version(),
        "Apache Kafka": kafka_broker.VERSION,
        "Redis": next(word[2:] for word in redis.split() if word.startswith("v=")),
        "librdkafka": libversion()[0],
        **{name: version(name) for name in ours},
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())

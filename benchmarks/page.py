"""docs/performance.md from the newest results: its tables and its plots; the prose between them is written by hand.

    python -m benchmarks.page     (make bench-page)

A table stands between `<!-- results: NAME -->` and `<!-- end -->`. Each plot carries the points that it shows as its
description, so that a test can compare them.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from benchmarks import report, results
from benchmarks.measures import daemon, history
from benchmarks.results import Name, Results
from benchmarks.table import DAEMON, HISTORY
from benchmarks.whiteballoon import ROOT

PAGE = ROOT / "docs" / "performance.md"
IMAGES = ROOT / "docs" / "images"
_PART = re.compile(r"(<!-- results: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_PLOTS = (
    ("plot of history", "cost-history.png", "CPU of one more comment against the comments that the profile has"),
    ("plot of latency", "latency-load.png", "Seconds from event to file against changed profiles a second"),
)
Points = Mapping[str, list[tuple[float, float]]]
"""What a plot shows: of each line its points."""


def text(page: str, found: Results) -> str:
    """The page with its tables made again. Raises KeyError where it asks for one that there is not."""
    parts = {one.name: one.markdown() for one in report.tables(found)}
    parts["runs"] = "".join(f"- {line}\n" for line in report.conditions(found))
    parts["sizes"] = "".join(f"- {line}\n" for line in report.sizes(found))
    parts["skipped"] = "".join(f"- {name}: {why}\n" for name, why in {**found.skipped, **found.failed}.items())
    drawn = plots(found)
    for name, file, alternative in _PLOTS:
        parts[name] = f"![{alternative}](images/{file})\n" if file in drawn else f"{report.MISSING}\n"
    return _PART.sub(lambda part: f"{part[1]}\n{parts[part[2]]}\n{part[3]}", page)


def plots(found: Results) -> dict[str, Points]:
    """What each plot shows, by the name of its file."""

    def line(on: str, rows: Mapping[float, str], figure: str) -> list[tuple[float, float]]:
        values = {at: found.median(Name(on, row), figure) for at, row in rows.items()}
        return [(at, value) for at, value in values.items() if value is not None]

    sizes = {float(size): f"a comment more than {size:,}" for size in history.SIZES}
    rates = {float(rate): f"event to file, {rate:,} profiles a second" for rate in daemon.RATES}
    rates = {0.0: "event to file, at rest", **rates}
    shown = {
        "cost-history.png": {
            "with Redis": line(HISTORY, sizes, "change"),
            "Redis": line(HISTORY, sizes, "redis_change"),
        },
        "latency-load.png": {"p50": line(DAEMON, rates, "p50"), "p99": line(DAEMON, rates, "p99")},
    }
    drawn = {name: {label: line for label, line in points.items() if line} for name, points in shown.items()}
    return {name: points for name, points in drawn.items() if points}


_LABELS = {
    "cost-history.png": ("comments of the profile", "CPU of one more comment, µs", "log"),
    "latency-load.png": ("changed profiles a second", "seconds from event to file", "symlog"),
}


def described(points: Points) -> str:
    """The points as text."""
    return json.dumps(points)


def draw(name: str, points: Points, folder: Path) -> None:
    """Write one plot."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - nothing else needs it

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for label, line in points.items():
        axes.plot(*zip(*line, strict=True), marker="o", label=label)
    below, beside, scale = _LABELS[name]
    axes.set(xlabel=below, ylabel=beside, xscale=scale)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(folder / name, dpi=120, metadata={"Description": described(points), "Software": None})


def write(found: Results) -> None:
    """Write the page and its plots."""
    PAGE.write_text(text(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    for name, points in plots(found).items():
        draw(name, points, IMAGES)


if __name__ == "__main__":
    write(results.load(results.newest()))

"""The results as tables, for a terminal and for docs/performance.md."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.goals import GOALS, YARDSTICKS
from benchmarks.results import Name, Results, Row, Run
from benchmarks.table import DAEMON, DATABASE, HISTORY, ONE_FILES, ONE_FOLD, STREAMS, Scale, sections
from benchmarks.whiteballoon import COPIES

MISSING = "not measured yet"
_LARGE = 1_000
"""From here on a figure of a goal needs no fraction."""


class Text(NamedTuple):
    """One table in words: its name, the heads of its columns, and its rows."""

    name: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """As a page has it; numbers to the right."""
        lines = (self.heads, ["---", *["---:"] * (len(self.heads) - 1)], *self.rows)
        return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


Column = tuple[str, str, Callable[[float], str]]
"""Its head, the figure that it shows, and how."""
Base = tuple[str, str, str]
"""The head of a column of ratios, the row (of the same ground) that they are multiples of, and the figure."""
_STREAM: tuple[Column, ...] = (
    ("CPU, ms a 1,000", "cpu", "{:.1f}".format),
    ("of it Redis", "redis", "{:.1f}".format),
    ("events/s", "rate", "{:,.0f}".format),
    ("MB", "memory", "{:,.0f}".format),
    ("Redis bytes a comment", "stored", "{:,.0f}".format),
)
_STREAM_BASES: tuple[Base, ...] = tuple((head, row, "cpu") for row, head in YARDSTICKS.items())
_DATABASE: tuple[Column, ...] = (
    ("seconds", "seconds", "{:.1f}".format),
    ("CPU, s", "cpu_seconds", "{:.1f}".format),
    ("MB", "memory", "{:,.0f}".format),
)
_DATABASE_BASES: tuple[Base, ...] = (
    ("× scan, fold", ONE_FOLD, "cpu_seconds"),
    ("× scan, fold, files", ONE_FILES, "cpu_seconds"),
)
_HISTORY: tuple[Column, ...] = (
    ("CPU a change, µs", "change", "{:,.0f}".format),
    ("of it Redis", "redis_change", "{:,.0f}".format),
)
_HISTORY_BASES: tuple[Base, ...] = (("× of 10", "a comment more than 10", "change"),)
_LATENCY: tuple[Column, ...] = (
    ("p50, s", "p50", "{:.3f}".format),
    ("p99, s", "p99", "{:.3f}".format),
    ("slowest, s", "slowest", "{:.3f}".format),
    ("sent a second", "sent", "{:,.0f}".format),
)
_IDLE: tuple[Column, ...] = (
    ("% of a core", "core", "{:.2f}".format),
    ("of it Redis", "redis_core", "{:.2f}".format),
)
_KILL: tuple[Column, ...] = (
    ("seconds", "seconds", "{:.1f}".format),
    ("expected", "expected", "{:.1f}".format),
)


def goals(results: Results) -> Text:
    """Each goal, what was measured, and whether it is met."""
    rows = []
    for goal in GOALS:
        value = goal.measured(results)
        found = MISSING if value is None else f"{_short(value)} {goal.unit}".strip()
        rows.append([goal.what, found, goal.wanted(), "" if value is None else "yes" if goal.met(value) else "no"])
    return Text("goals", ("goal", "measured", "wanted", "met"), rows)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= _LARGE else f"{value:.3g}"


def tables(results: Results) -> list[Text]:
    """All of it, the goals first."""
    names = [name for section in sections(Scale(COPIES)) for name in section.names()]
    streams = [_table(results, on, _of(names, on, "kill", inside=False), _STREAM, _STREAM_BASES) for on in STREAMS]
    return [
        goals(results),
        *streams,
        _table(results, "kill", _of(names, STREAMS[0], "kill"), _KILL),
        _table(results, DATABASE, _of(names, DATABASE), _DATABASE, _DATABASE_BASES),
        _table(results, HISTORY, _of(names, HISTORY), _HISTORY, _HISTORY_BASES),
        _table(results, "latency", _of(names, DAEMON, "event to file"), _LATENCY),
        _table(results, "idle", _of(names, DAEMON, "idle"), _IDLE),
    ]


def _of(names: Sequence[Name], on: str, part: str = "", *, inside: bool = True) -> list[Name]:
    return [name for name in names if name.on == on and (part in name.row) == inside]


def _table(
    results: Results, name: str, names: Sequence[Name], columns: Sequence[Column], bases: Sequence[Base] = ()
) -> Text:
    heads = ("row", *(head for head, _, _ in columns), *(head for head, _, _ in bases))
    return Text(name, heads, [list(_cells(results, one, columns, bases)) for one in names])


def _cells(results: Results, name: Name, columns: Sequence[Column], bases: Sequence[Base]) -> Iterator[str]:
    row = results.find(name)
    yield name.row
    if row is None:
        yield MISSING
        yield from [""] * (len(columns) + len(bases) - 1)
        return
    for _, figure, spelled in columns:
        value = row.median(figure)
        yield "" if value is None else spelled(value)
    for _, base, figure in bases:
        ratio = results.ratio(name, Name(name.on, base), figure)
        yield "" if ratio is None else f"{ratio:.2f}"


def conditions(results: Results) -> list[str]:
    """One line for each run: when, on what, under which load, and how often each row was measured."""
    return [_condition(results, run) for run in results.runs.values()]


def _condition(results: Results, run: Run) -> str:
    rows = [row for row in results.rows if row.run == run.at]
    times = sorted({len(values) for row in rows for values in row.figures.values()})
    load = " to ".join(f"{one:.1f}" for one in run.load)
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    machine = f"{run.machine['cores']} cores ({run.machine['processor']}), {run.machine['memory_gb']} GB"
    return (
        f"{run.at}, commit {run.commit}: {len(rows)} rows, each measured {' or '.join(map(str, times))} time(s); "
        f"the oracle's rows {run.copies} times over; {machine}; load of the machine {load}, "
        f"niceness {run.machine['niceness']}; {versions}.{f' {run.note}.' if run.note else ''}"
    )


def sizes(results: Results) -> list[str]:
    """What each stream holds."""
    return [f"{on}: {_size(row)}" for on in STREAMS if (row := _first_of(results, on)) is not None]


def _first_of(results: Results, on: str) -> Row | None:
    return next((row for row in results.rows if row.on == on and "events" in row.figures), None)


def _size(row: Row) -> str:
    return f"{row.figures['events'][-1]:,.0f} events, {row.figures['profiles'][-1]:,.0f} profiles"


def show(results: Results, console: Console) -> None:
    """Print all that was measured on this day, and the goals that it tells something of."""
    for text in tables(results):
        rows = [row for row in text.rows if row[1] != MISSING]
        if rows:
            table = Table(*text.heads, title=text.name, title_justify="left")
            for row in rows:
                table.add_row(*row)
            console.print(table)
    skipped = [f"skipped: {name}: {why}" for name, why in results.skipped.items()]
    skipped += [f"failed: {name}: {why}" for name, why in results.failed.items()]
    for line in (*sizes(results), *conditions(results), *skipped, f"wrong profiles: {results.wrong}"):
        console.print(line, soft_wrap=True, highlight=False)

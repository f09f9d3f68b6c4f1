"""Charts as numbers for SVG: lines over the last hour, bars of months. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from consumer.web.live.sampler import Sample
from snapshot.runtime.terminal import span

WIDTH, HEIGHT = 300, 60
_MOST_SECONDS, _FEWEST_SECONDS = 3_600.0, 60.0
_FEWEST_MONTHS = 12
_POINTS = 150
_GAP_SECONDS = 60.0
_STEPS = (1, 2, 5)
_Points = list[tuple[float, float]]


class Line(NamedTuple):
    """A chart of one figure: SVG's `points` of each unbroken line, and in words the last, highest and lowest value."""

    title: str
    lines: list[str]
    now: str
    most: str
    least: str
    top: str
    since: str


class Bar(NamedTuple):
    """A month: where its bar is, how high (of HEIGHT), and what it stands for."""

    x: int
    height: float
    month: str
    comments: int


def line_charts(samples: Sequence[Sample], now: float) -> list[Line]:
    """All charts of which anything is known, up to an hour back. `now`: seconds since 1970."""
    figures: list[tuple[str, Callable[[Sample], float | None], Callable[[float], str]]] = [
        ("Events a second", lambda one: one.events, _rate),
        ("Profiles flushed a second", lambda one: one.flushes, _rate),
        ("Profiles due", lambda one: one.due, _count),
        ("Since the last poll", lambda one: one.database_seconds, span),
        ("Behind Kafka", lambda one: one.kafka_seconds, span),
        ("Events behind on Kafka", lambda one: one.behind, _count),
    ]
    seconds = min(_MOST_SECONDS, max([_FEWEST_SECONDS, *(now - one.time for one in samples)]))
    charts = []
    for title, value, text in figures:
        points = [(one.time, found) for one in samples if (found := value(one)) is not None]
        if points:
            charts.append(_line(title, points, now, seconds, text))
    return charts


def _line(
    title: str, points: list[tuple[float, float]], now: float, seconds: float, text: Callable[[float], str]
) -> Line:
    values = [value for _, value in points]
    top = _ceiling(max(values))
    lines: list[list[str]] = []
    last = float("-inf")
    for time, value in _thinned(points):
        if time - last > _GAP_SECONDS:
            lines.append([])
        last = time
        x = WIDTH * (1 - min(1.0, max(0.0, (now - time) / seconds)))
        lines[-1].append(f"{x:.1f},{HEIGHT - HEIGHT * value / top:.1f}")
    return Line(
        title,
        [" ".join(line) for line in lines],
        now=text(values[-1]),
        most=text(max(values)),
        least=text(min(values)),
        top=text(top),
        since=span(seconds),
    )


def _thinned(points: _Points) -> _Points:
    """At most so many points; of those that are left out the highest stays."""
    size = -(-len(points) // _POINTS)
    return [max(points[start : start + size], key=lambda one: one[1]) for start in range(0, len(points), size)]


def _ceiling(value: float) -> float:
    """The round number at or above a value.

    >>> _ceiling(0.0), _ceiling(3), _ceiling(47)
    (1, 5, 50)
    """
    power = 1
    while True:
        for step in _STEPS:
            if step * power >= value:
                return step * power
        power *= 10


def _rate(value: float) -> str:
    return f"{value:,.1f}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def bars(months: Mapping[str, int]) -> list[Bar]:
    """A bar for each month, ten units apart; empty ones before, so that it is at least a year."""
    months = {**_before(months), **months}
    most = max(months.values(), default=1) or 1
    return [Bar(10 * index, HEIGHT * count / most, month, count) for index, (month, count) in enumerate(months.items())]


def _before(months: Mapping[str, int]) -> dict[str, int]:
    """The months that lack to a year, before the first."""
    if not months:
        return {}
    year, month = map(int, min(months).split("-"))
    first = year * 12 + month - 1
    missing = range(first - max(0, _FEWEST_MONTHS - len(months)), first)
    return {f"{one // 12}-{one % 12 + 1:02}": 0 for one in missing}

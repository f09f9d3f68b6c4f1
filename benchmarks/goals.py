"""The goals that were set, each with what was measured for it; ratios are of rows of one run."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from benchmarks.measures import database, stream
from benchmarks.results import Name, Results
from benchmarks.table import (
    CONSUMER,
    DAEMON,
    DATABASE,
    FLOOR,
    HISTORY,
    LONG,
    ONE_FILES,
    ONE_FOLD,
    ONE_WB,
    PEER,
    SHORT,
    WITHOUT_FILES,
)


class Goal(NamedTuple):
    """What is wanted: at most `most`, or at least `least`, of `unit` (× is a ratio)."""

    what: str
    measured: Callable[[Results], float | None]
    unit: str
    most: float | None = None
    least: float | None = None

    def met(self, value: float) -> bool:
        """Whether it is reached."""
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)

    def wanted(self) -> str:
        """The bound, for people."""
        sign, bound = ("≤", self.most) if self.most is not None else ("≥", self.least)
        return f"{sign} {bound:,g} {self.unit}".strip()


def _ratio(one: Name, other: Name, figure: str, results: Results) -> float | None:
    return results.ratio(one, other, figure)


def _figure(name: Name, figure: str, results: Results) -> float | None:
    return results.median(name, figure)


def _against_expected(results: Results) -> float | None:
    seconds, expected = (results.median(Name(SHORT, stream.KILL), figure) for figure in ("seconds", "expected"))
    return None if seconds is None or not expected else seconds / expected


def _short(row: str, base: str, figure: str = "cpu") -> Callable[[Results], float | None]:
    return partial(_ratio, Name(SHORT, row), Name(SHORT, base), figure)


def _full_read(row: str, base: str) -> Callable[[Results], float | None]:
    return partial(_ratio, Name(DATABASE, row), Name(DATABASE, base), "cpu_seconds")


def _of_daemon(row: str, figure: str) -> Callable[[Results], float | None]:
    return partial(_figure, Name(DAEMON, row), figure)


_RELAY = Name(SHORT, "relay, backfill, librdkafka")

GOALS = (
    Goal("consumer without files, CPU ÷ Kafka Streams", _short(WITHOUT_FILES, PEER), "×", 0.9),
    Goal("consumer with files, CPU ÷ Kafka Streams", _short(CONSUMER, PEER), "×", 1.2),
    Goal("of that, Redis, CPU a thousand events", partial(_figure, Name(SHORT, CONSUMER), "redis"), "ms", 4.0),
    Goal("consumer with files, kafka-python, CPU ÷ Kafka Streams", _short("consumer, kafka-python", PEER), "×", 1.8),
    Goal(
        "consumer, CPU a thousand events, long ÷ short stream",
        partial(_ratio, Name(LONG, CONSUMER), Name(SHORT, CONSUMER), "cpu"),
        "×",
        1.1,
    ),
    Goal("consumer, events a second ÷ Kafka Streams", _short(CONSUMER, PEER, "rate"), "×", least=0.7),
    Goal("two consumers, CPU ÷ one", _short("two consumers, librdkafka", CONSUMER), "×", 1.1),
    Goal("relay, CPU a thousand events", partial(_figure, _RELAY, "cpu"), "ms", 20.0),
    Goal("relay, events a second", partial(_figure, _RELAY, "rate"), "", least=40_000.0),
    Goal(
        "event to file, 2,000 changed profiles a second, p99",
        _of_daemon("event to file, 2,000 profiles a second", "p99"),
        "s",
        2.0,
    ),
    Goal("event to file, at rest, p99", _of_daemon("event to file, at rest", "p99"), "s", 0.55),
    Goal("event to file, at rest, debounce 0, p99", _of_daemon("event to file, at rest, debounce 0", "p99"), "s", 0.02),
    Goal("idle, with Redis", _of_daemon("idle, Kafka, librdkafka", "core"), "% of a core", 1.0),
    Goal("Redis", partial(_figure, Name(SHORT, CONSUMER), "stored"), "bytes a comment", 180.0),
    Goal(
        "a change, profile of 100,000 comments ÷ of 10",
        partial(
            _ratio, Name(HISTORY, "a comment more than 100,000"), Name(HISTORY, "a comment more than 10"), "change"
        ),
        "×",
        1.3,
    ),
    Goal("kill -9, seconds ÷ (unkilled rest + session time-out)", _against_expected, "×", 1.0),
    Goal("wb, CPU ÷ scan, fold, files", _full_read(ONE_WB, ONE_FILES), "×", 1.2),
    Goal("rebuild into an empty store, CPU ÷ scan, fold, files", _full_read(database.EMPTY, ONE_FILES), "×", 2.0),
    Goal("rebuild in step, CPU ÷ scan, fold", _full_read(database.IN_STEP, ONE_FOLD), "×", 1.1),
)

YARDSTICKS = {FLOOR: "× fold", PEER: "× Kafka Streams", "Bytewax": "× Bytewax", "Quix Streams": "× Quix"}
"""What each row of a stream is a multiple of, if it was measured in the same run; on the same stream."""

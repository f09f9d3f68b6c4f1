"""All rows there are, what each is measured on, and how large that is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.measures import daemon, database, history, stream
from benchmarks.results import Figures, Name
from benchmarks.whiteballoon import Shape

Rows = Mapping[str, Callable[[Any], Figures]]
"""What is measured, by its name: each is called with the ground that its section opens."""
SHORT, LONG, FEW, MANY = "short stream", "long stream", "stream of few profiles", "stream of many profiles"
DATABASE, HISTORY, DAEMON = "database", "history", "daemon"
STREAMS = (SHORT, LONG, FEW, MANY)
PEER = "Kafka Streams, write-behind"
CONSUMER, WITHOUT_FILES = "consumer, librdkafka", "consumer without files, librdkafka"
FLOOR = "poll, decode, fold, librdkafka"
ONE_FOLD, ONE_FILES, ONE_WB = (f"{what}, 1 process(es)" for what in (database.FOLD, database.FILES, "wb --all"))

_OF_OTHER_STREAMS = (FLOOR, CONSUMER, WITHOUT_FILES, PEER)
"""What is measured again on the streams of other shapes."""
_QUICK: Mapping[str, Sequence[str]] = {
    SHORT: (FLOOR, "relay, backfill, librdkafka", CONSUMER, WITHOUT_FILES, "consumer, kafka-python", PEER),
    DATABASE: (ONE_FOLD, ONE_FILES, ONE_WB, database.EMPTY, database.IN_STEP),
    HISTORY: list(history.ROWS)[:3],
    DAEMON: ("event to file, at rest", "event to file, 1,000 profiles a second", "idle, Kafka, librdkafka"),
}
"""What `make bench-quick` measures."""

_SHARES = 12
"""So many users share one user's comments in the stream of many profiles: 100,000 where the others have 25,551."""


class Scale(NamedTuple):
    """How large all is: copies of the oracle's rows, events and changes to watch, seconds of idleness."""

    copies: int
    events: int = 100
    changes: int = 200
    idle_seconds: float = 60.0


class Section(NamedTuple):
    """Rows that are measured in turns on the same ground."""

    on: str
    rows: Rows
    opened: Callable[[Path], AbstractContextManager[Any]]

    def names(self) -> Iterator[Name]:
        """Their names."""
        return (Name(self.on, row) for row in self.rows)

    def only(self, wanted: Callable[[Name], bool]) -> "Section":
        """Some of its rows."""
        return self._replace(rows={row: measure for row, measure in self.rows.items() if wanted(Name(self.on, row))})


def sections(scale: Scale, *, quick: bool = False) -> list[Section]:
    """All of the table; `quick`: what tells most in three minutes."""
    copies = scale.copies
    short = Shape(copies, copies)
    others = {LONG: Shape(4 * copies, 4 * copies), FEW: Shape(1, copies), MANY: Shape(_SHARES * copies, copies)}
    again = {row: stream.ROWS[row] for row in _OF_OTHER_STREAMS}
    full = [
        Section(SHORT, stream.ROWS, partial(stream.opened, shape=short)),
        *(Section(on, again, partial(stream.opened, shape=shape)) for on, shape in others.items()),
        Section(DATABASE, database.ROWS, partial(database.opened, shape=short)),
        Section(HISTORY, history.ROWS, partial(history.opened, changes=scale.changes)),
        Section(DAEMON, daemon.ROWS, partial(daemon.opened, scale=daemon.Scale(scale.events, scale.idle_seconds))),
    ]
    return [one.only(lambda name: name.row in _QUICK.get(name.on, ())) for one in full] if quick else full

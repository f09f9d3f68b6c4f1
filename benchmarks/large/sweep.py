"""The tail over a million comments: one sweep round within 30 s at its default settings; what it costs idle.

    python -m benchmarks.large.sweep [COPIES [URL]]

URL is a PostgreSQL database: an empty one is filled first. Without it SQLite is read. The tail runs in process; its
events are discarded. It prints how long filling the memory and one round take, how much memory, and, while nothing is
committed, statements an interval and CPU seconds a minute.
"""

import resource
import sqlite3
import sys
import time
from collections.abc import Callable

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.pool import NullPool

from benchmarks import whiteballoon
from consumer.tail.rows.revisions import Revisions
from consumer.tail.startup.fill import Fill
from consumer.tail.state import TailSettings
from consumer.tail.tail import Start, Tail, open_tail
from projections.database.database import Database, open_databases
from snapshot.runtime.metrics import NoMetrics

LIMIT = 30.0
COPIES = 43
"""1,015,402 comments."""
IDLE_SECONDS = 60.0
MOST_STATEMENTS = 4
"""In an interval in which nothing is committed."""


class Statements:
    """Counts statements on connections opened from now on; of PostgreSQL without BEGIN and COMMIT."""

    def __init__(self) -> None:
        self.number = 0
        event.listen(Engine, "connect", self._trace)
        event.listen(Engine, "before_cursor_execute", self._note)

    def _trace(self, connection: object, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.set_trace_callback(self._count)

    def _note(self, connection: Connection, *_execution: object) -> None:
        if connection.dialect.name != "sqlite":
            self._count("")

    def _count(self, _statement: str) -> None:
        self.number += 1


def main() -> None:
    """Measure, print, and end with 1 where a limit is passed."""
    urls = whiteballoon.chosen(COPIES)
    statements = Statements()
    with open_databases(urls["DATABASE_URL"], urls["INSIGHTS_DATABASE_URL"]) as database:
        tail = _opened(database)
        _report("fill", *_until(tail, lambda: not tail.starting))
        _commit(urls["DATABASE_URL"])
        round_seconds, cpu = _round(tail)
        _report("round", round_seconds, cpu)
        print(f"memory   {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:8.0f} MB at most")
        asked = _idle(tail, statements)
    sys.exit(0 if round_seconds <= LIMIT and asked <= MOST_STATEMENTS else 1)


def _opened(database: Database) -> Tail:
    return open_tail(
        database,
        None,
        Revisions(database.clock, 0),
        lambda builder, _guard, heads: Start([Fill(database, builder, heads.comment_id)], None),
        TailSettings(),
        begin_poll=database.clock,
        metrics=NoMetrics(),
        now=time.monotonic,
    )


def _commit(url: str) -> None:
    """Change what only a sweep finds."""
    with create_engine(url, poolclass=NullPool).begin() as connection:
        connection.execute(text("UPDATE request_comments SET body = body || '.' WHERE id % 10007 = 0"))


def _round(tail: Tail) -> tuple[float, float]:
    since = tail.last_poll
    return _until(tail, lambda: tail.caught_up(since))


def _idle(tail: Tail, statements: Statements) -> float:
    before = statements.number
    seconds, cpu = _until(tail, _after(IDLE_SECONDS))
    asked = (statements.number - before) / (seconds / TailSettings().poll_interval)
    print(f"idle     {asked:8.1f} statements an interval; {60 * cpu / seconds:.2f} s of CPU a minute")
    return asked


def _after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def _until(tail: Tail, done: Callable[[], bool]) -> tuple[float, float]:
    """Turn the tail as its owners do; wall and CPU seconds."""
    began, cpu = time.monotonic(), time.process_time()
    while not done():
        if tail.turn() is None:
            time.sleep(min(0.5, tail.wait()))
    return time.monotonic() - began, time.process_time() - cpu


def _report(name: str, seconds: float, cpu: float) -> None:
    print(f"{name:8} {seconds:8.1f} s, {cpu:.1f} s of CPU", flush=True)


if __name__ == "__main__":
    main()

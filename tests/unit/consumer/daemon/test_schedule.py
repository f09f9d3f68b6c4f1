"""The nightly run: when it is due, and which of several daemons does it."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
from structlog.testing import capture_logs

from consumer.daemon.schedule import DEFAULT, NIGHTLY, Nightly, Schedule
from projections.errors import OperatorError
from projections.store.memory import MemoryStore
from projections.store.protocol import Store, StoreUnavailableError

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE
NIGHT = 1_795_320_300 * SECOND
"""2026-11-22 04:05:00 UTC."""


@pytest.fixture
def zone() -> Iterator[Callable[[str], None]]:
    """Sets this process' time zone, as TZ does."""
    before = os.environ.get("TZ")

    def place(name: str | None) -> None:
        if name is None:
            os.environ.pop("TZ", None)
        else:
            os.environ["TZ"] = name
        time.tzset()

    place("UTC")
    yield place
    place(before)


class Clock:
    """Microseconds, moved by hand."""

    def __init__(self, now: int = NIGHT - MINUTE) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class RebuildContext:
    """A run that ends when it is let."""

    def __init__(self, clock: Clock, *, at_once: bool = True) -> None:
        self.began: list[int] = []
        self.may_end = threading.Event()
        self.ended = threading.Event()
        self.stopped = False
        self.error: Exception | None = None
        self._clock = clock
        if at_once:
            self.may_end.set()

    def __call__(self, stopping: threading.Event) -> None:
        self.began.append(self._clock())
        try:
            while not self.may_end.wait(0.005):
                if stopping.is_set():
                    self.stopped = True
                    return
            if self.error is not None:
                raise self.error
        finally:
            self.ended.set()


def daemon(store: Store, work: RebuildContext, name: str = "a", lease: float = 30.0) -> Nightly:
    return Nightly(store, Schedule(DEFAULT), work, lease=lease, token=lambda: name)


def settled(store: MemoryStore, done: int) -> None:
    """Write the mark of a run that had begun then."""
    assert store.lease(NIGHTLY, "another", 1)
    assert store.put_document(NIGHTLY, "another", b'{"done":%d}' % done)
    store.release(NIGHTLY, "another")


def finish(nightly: Nightly) -> None:
    """Wait until the run's thread has ended."""
    assert nightly.wait(10)


def utc(text: str) -> int:
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp()) * SECOND


# ---------------------------------------------------------------------------------------------------------- schedule


@pytest.mark.parametrize(
    ("now", "last"),
    [
        ("2026-11-22T04:04:59", "2026-11-21T04:05:00"),
        ("2026-11-22T04:05:00", "2026-11-22T04:05:00"),
        ("2026-11-22T04:05:01", "2026-11-22T04:05:00"),
        ("2026-11-23T00:00:00", "2026-11-22T04:05:00"),
    ],
)
def test_the_last_scheduled_time_is_not_after_now(zone: Callable[[str], None], now: str, last: str) -> None:
    zone("UTC")
    assert Schedule(DEFAULT).last(utc(now)) == utc(last)
    assert Schedule(DEFAULT).last(utc(now) + 999_999) == utc(last)


@pytest.mark.parametrize(
    ("expression", "now", "last"),
    [
        # Central Europe: 02:00 became 03:00 on 2026-03-29, 03:00 became 02:00 again on 2026-10-25.
        ("5 4 * * *", "2026-07-01T12:00:00", "2026-07-01T02:05:00"),
        ("5 4 * * *", "2026-12-01T12:00:00", "2026-12-01T03:05:00"),
        ("30 2 * * *", "2026-03-29T01:10:00", "2026-03-28T01:30:00"),
        ("30 2 * * *", "2026-03-29T01:30:00", "2026-03-29T01:30:00"),
        ("30 2 * * *", "2026-03-29T12:00:00", "2026-03-29T01:30:00"),
        ("30 2 * * *", "2026-10-25T00:40:00", "2026-10-25T00:30:00"),
        ("30 2 * * *", "2026-10-25T01:40:00", "2026-10-25T00:30:00"),
        ("30 2 * * *", "2026-10-25T12:00:00", "2026-10-25T00:30:00"),
    ],
)
def test_the_clock_is_the_systems_in_summer_and_winter(
    zone: Callable[[str], None], expression: str, now: str, last: str
) -> None:
    zone("Europe/Vienna")
    assert Schedule(expression).last(utc(now)) == utc(last)


@pytest.mark.parametrize("expression", ["", "5 4 * *", "0 5 4 * * *", "65 4 * * *", "nightly", "0 0 30 2 *", "@daily"])
def test_what_is_no_cron_expression_is_refused_in_words(expression: str) -> None:
    with pytest.raises(OperatorError, match="SNAPSHOT_SCHEDULE") as caught:
        Schedule(expression)
    assert DEFAULT in str(caught.value)


# ------------------------------------------------------------------------------------------------------- one daemon


@pytest.fixture(autouse=True)
def _utc(zone: Callable[[str], None]) -> None:
    zone("UTC")


def test_the_first_start_only_notes_the_time_and_the_night_runs_once() -> None:
    clock = Clock()
    store, work = MemoryStore(clock), RebuildContext(clock)
    nightly = daemon(store, work)
    nightly.tick()
    assert work.began == []
    clock.now = NIGHT
    for _ in range(3):
        nightly.tick()
        finish(nightly)
        clock.now += SECOND
    assert work.began == [NIGHT]
    assert store.document(NIGHTLY) == b'{"done":%d}' % NIGHT
    clock.now = NIGHT + DAY
    nightly.tick()
    finish(nightly)
    assert work.began == [NIGHT, NIGHT + DAY]


def test_a_missed_run_is_made_up_once() -> None:
    clock = Clock(NIGHT + 9 * 60 * MINUTE)
    store, work = MemoryStore(clock), RebuildContext(clock)
    settled(store, NIGHT - 3 * DAY)
    nightly = daemon(store, work)
    for _ in range(3):
        nightly.tick()
        finish(nightly)
    assert work.began == [clock.now]


def test_a_run_that_fails_is_said_and_tried_again_after_five_minutes() -> None:
    clock = Clock(NIGHT)
    store, work = MemoryStore(clock), RebuildContext(clock)
    settled(store, NIGHT - DAY)
    nightly = daemon(store, work)
    work.error = OperatorError("the database is unreachable")
    with capture_logs() as logged:
        for seconds in (0, 1, 299, 1):
            clock.now += seconds * SECOND
            nightly.tick()
            finish(nightly)
    assert work.began == [NIGHT, NIGHT + 300 * SECOND]
    assert [line["reason"] for line in logged if "reason" in line] == ["the database is unreachable"] * 2
    work.error = ValueError("a mistake of ours")
    clock.now += 299 * SECOND
    with capture_logs() as logged:
        nightly.tick()
        finish(nightly)
    assert any(line.get("exc_info") for line in logged)
    assert store.document(NIGHTLY) == b'{"done":%d}' % (NIGHT - DAY)


def test_a_stop_ends_the_run_early_and_leaves_it_to_do() -> None:
    clock = Clock(NIGHT)
    store, work = MemoryStore(clock), RebuildContext(clock, at_once=False)
    settled(store, NIGHT - DAY)
    nightly = daemon(store, work)
    nightly.tick()
    nightly.close(10)
    assert work.stopped
    again = RebuildContext(clock)
    other = daemon(store, again, "b")
    other.tick()
    finish(other)
    assert again.began == [NIGHT]


def test_a_store_that_is_away_is_no_error() -> None:
    class Away(MemoryStore):
        def clock(self) -> int:
            raise StoreUnavailableError("Redis is unreachable")

    daemon(Away(Clock()), RebuildContext(Clock())).tick()


def test_a_document_that_cannot_be_read_is_written_again() -> None:
    clock = Clock(NIGHT)
    store, work = MemoryStore(clock), RebuildContext(clock)
    assert store.lease(NIGHTLY, "another", 1)
    store.put_document(NIGHTLY, "another", b"\xff")
    store.release(NIGHTLY, "another")
    daemon(store, work).tick()
    assert work.began == []
    assert store.document(NIGHTLY) == b'{"done":%d}' % NIGHT


# ---------------------------------------------------------------------------------------------------- several daemons


def test_one_of_two_daemons_runs() -> None:
    clock = Clock(NIGHT)
    store, first, second = MemoryStore(clock), RebuildContext(clock, at_once=False), RebuildContext(clock)
    settled(store, NIGHT - DAY)
    one, other = daemon(store, first), daemon(store, second, "b")
    one.tick()
    for _ in range(3):
        other.tick()
    first.may_end.set()
    finish(one)
    other.tick()
    finish(other)
    assert (len(first.began), len(second.began)) == (1, 0)


def test_a_killed_runner_is_replaced_when_its_lease_has_run_out() -> None:
    clock = Clock(NIGHT)
    store, work = MemoryStore(clock), RebuildContext(clock)
    settled(store, NIGHT - DAY)
    assert store.lease(NIGHTLY, "killed", 30)
    nightly = daemon(store, work)
    nightly.tick()
    clock.now += 29 * SECOND
    nightly.tick()
    assert work.began == []
    clock.now += SECOND
    nightly.tick()
    finish(nightly)
    assert work.began == [NIGHT + 30 * SECOND]


def test_a_long_run_keeps_its_lease() -> None:
    def clock() -> int:
        return NIGHT + time.monotonic_ns() // 1000

    store, long, other = MemoryStore(clock), RebuildContext(Clock(), at_once=False), RebuildContext(Clock())
    settled(store, NIGHT - DAY)
    one, two = daemon(store, long, lease=0.3), daemon(store, other, "b", lease=0.3)
    one.tick()
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        two.tick()
        time.sleep(0.01)
    long.may_end.set()
    finish(one)
    two.tick()
    finish(two)
    assert (len(long.began), len(other.began)) == (1, 0)


def test_a_runner_that_lost_its_lease_stops() -> None:
    clock = Clock(NIGHT)
    store, slow, other = MemoryStore(clock), RebuildContext(clock, at_once=False), RebuildContext(clock, at_once=False)
    settled(store, NIGHT - DAY)
    one, two = daemon(store, slow, lease=0.05), daemon(store, other, "b")
    one.tick()
    clock.now += MINUTE  # as after a suspended machine: the lease has run out
    while two.wait(0):  # until it could take over: the first may renew between the clock and the look
        clock.now += SECOND
        two.tick()
    finish(one)
    assert slow.stopped
    other.may_end.set()
    finish(two)
    assert store.document(NIGHTLY) == b'{"done":%d}' % other.began[0]


def test_a_run_that_ends_after_a_later_one_does_not_turn_the_mark_back() -> None:
    clock = Clock(NIGHT)
    store, work = MemoryStore(clock), RebuildContext(clock, at_once=False)
    settled(store, NIGHT - DAY)
    nightly = daemon(store, work)
    nightly.tick()
    clock.now += MINUTE
    settled(store, NIGHT + SECOND)
    assert store.lease(NIGHTLY, "a", 30)
    work.may_end.set()
    finish(nightly)
    assert store.document(NIGHTLY) == b'{"done":%d}' % (NIGHT + SECOND)


@pytest.mark.parametrize("done", [NIGHT + 300 * DAY, NIGHT + 2 * 60 * MINUTE, 10**30])
def test_after_the_clock_was_set_back_a_run_that_is_yet_to_come_hides_no_night(done: int) -> None:
    clock = Clock(NIGHT + MINUTE)
    store, work = MemoryStore(clock), RebuildContext(clock)
    settled(store, done)
    nightly = daemon(store, work)
    for pause in (0, MINUTE, DAY, MINUTE):
        clock.now += pause
        nightly.tick()
        finish(nightly)
    assert work.began == [NIGHT + MINUTE, NIGHT + 2 * MINUTE + DAY]


def test_nor_does_one_that_failed_later() -> None:
    clock = Clock(NIGHT + DAY)
    store, work = MemoryStore(clock), RebuildContext(clock)
    settled(store, NIGHT - DAY)
    nightly = daemon(store, work)
    work.error = OperatorError("the database is unreachable")
    nightly.tick()
    finish(nightly)
    clock.now = NIGHT + MINUTE
    nightly.tick()
    finish(nightly)
    assert work.began == [NIGHT + DAY, NIGHT + MINUTE]


def test_who_comes_just_after_the_end_finds_it_done() -> None:
    """Between its own look and the lease another daemon may have done it all."""
    clock = Clock(NIGHT)
    late = RebuildContext(clock)

    class Store(MemoryStore):
        def lease(self, name: str, token: str, seconds: float) -> bool:
            if token.startswith("b"):
                settled(self, NIGHT)
            return super().lease(name, token, seconds)

    store = Store(clock)
    settled(store, NIGHT - DAY)
    nightly = daemon(store, late, "b")
    nightly.tick()
    finish(nightly)
    assert late.began == []
    assert store.lease(NIGHTLY, "anybody", 1), "the lease was given back"

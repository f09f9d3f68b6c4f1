"""The database's clock is set back: nothing is called caught up that was never read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from projections.database.database import SqlDatabase, open_databases
from projections.profile_key import ProfileKey
from projections.store.memory import MemoryStore
from support.tailing import Embedded, microseconds
from support.whiteballoon import WhiteBalloon

HOUR = 3_600_000_000
KEY = ProfileKey(1, "elm")


class Clock:
    def __init__(self) -> None:
        self.offset = 0

    def __call__(self) -> int:
        return microseconds() + self.offset


@pytest.fixture
def white_balloon(tmp_path: Path) -> WhiteBalloon:
    made = WhiteBalloon.in_folder(tmp_path / "wb")
    made.add_group("elm", "Elm St")
    made.comment(1, 1)
    return made


def open_at(white_balloon: WhiteBalloon, clock: Clock) -> SqlDatabase:
    return open_databases(white_balloon.main_url, white_balloon.insights_url, timeout=2.0, host_clock=clock)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def embedded(white_balloon: WhiteBalloon, clock: Clock) -> Iterator[Embedded]:
    made = Embedded(white_balloon, MemoryStore(microseconds), database=open_at(white_balloon, clock))
    made.catch_up()
    yield made
    made.close()


def count(embedded: Embedded) -> int:
    head = embedded.projection.read_current([KEY])[KEY].head
    return 0 if head is None else head.count


def test_it_is_not_caught_up_with_what_it_never_read(
    white_balloon: WhiteBalloon, embedded: Embedded, clock: Clock
) -> None:
    clock.offset = -HOUR
    for number in range(2, 5):
        white_balloon.comment(1, 1)
        embedded.catch_up()
        assert count(embedded) == number


def test_nor_is_one_that_waits_for_another(white_balloon: WhiteBalloon, embedded: Embedded, clock: Clock) -> None:
    waiting = Embedded(white_balloon, embedded.projection.store, database=open_at(white_balloon, clock))
    waiting.step()
    clock.offset = -HOUR
    white_balloon.comment(1, 1)
    assert not waiting.loop.caught_up()

    def both() -> bool:
        embedded.step()
        return waiting.loop.caught_up()

    waiting.until(both)
    assert count(embedded) == 2
    waiting.close()

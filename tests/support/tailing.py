"""A tail in process with everything that it needs: database, loop, store."""

import time
from collections import Counter
from collections.abc import Callable

from consumer.dead_letters.breaker import BadStreak
from consumer.loop import Loop
from consumer.tail.source import DatabaseTail
from consumer.tail.state import TailSettings
from projections.comments.events import Event
from projections.database.database import Database, open_databases
from projections.projection import Projection
from projections.store.memory import MemoryStore
from projections.store.protocol import Store
from snapshot.runtime.metrics import NoMetrics
from support.differences import differences
from support.whiteballoon import WhiteBalloon

QUICK = TailSettings(poll_interval=0.02, sweep_interval=0.02, lease=1.0)
HIGHEST = 2**63 - 1


class NoDeadLetters:
    """The tail has none."""

    def send(self, invalid: object) -> None:
        raise AssertionError(invalid)

    def close(self) -> None:
        """Nothing to release."""


def microseconds() -> int:
    return time.time_ns() // 1000


class Counted(NoMetrics):
    """Keeps what is counted."""

    def __init__(self) -> None:
        self.counts = Counter[str]()

    def count(self, name: str, by: int = 1) -> None:
        self.counts[name] += by


class Embedded:
    """One daemon's loop over a `DatabaseTail`, stepped by the test."""

    def __init__(
        self,
        white_balloon: WhiteBalloon,
        store: Store | None = None,
        settings: TailSettings = QUICK,
        database: Database | None = None,
    ) -> None:
        self.database = database or open_databases(white_balloon.main_url, white_balloon.insights_url, timeout=2.0)
        self.projection = Projection(store or MemoryStore(microseconds))
        self.metrics = Counted()
        self.source = DatabaseTail(self.projection, self.database, settings, metrics=self.metrics)
        self.loop = Loop(self.source, self.projection, NoDeadLetters(), BadStreak(), NoMetrics(), time.monotonic)
        self.applied = 0

    def step(self) -> None:
        self.applied += self.loop.step(0.05)

    def until(self, wanted: Callable[[], bool], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not wanted():
            assert time.monotonic() < deadline, "it never came to that"
            self.step()

    def catch_up(self) -> None:
        """Until everything committed by now is in the store, a sweep round included."""
        self.source._leased._asked_at = None  # noqa: SLF001 - the question is asked again
        self.until(self.loop.caught_up)
        self.loop.commit()

    def drift(self) -> list[Event]:
        """What reconcile would still change."""
        return differences(self.projection.store, self.database)

    def close(self) -> None:
        self.source.close()
        self.database.close()

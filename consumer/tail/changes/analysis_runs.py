"""Runs of the language model: a changed run has its analyses read again."""

from collections.abc import Callable

from consumer.tail.changes.backlog import DUTY_CYCLE, Task
from consumer.tail.changes.poll import build_analysed
from consumer.tail.rows.event_builder import EventBuilder
from projections.comments.events import Event
from projections.database.database import Database

_PAGE = 2_000


class AnalysisRuns:
    """Compares all runs' rows with the last ones."""

    def __init__(
        self, database: Database, builder: EventBuilder, add_task: Callable[[Task], object], now: Callable[[], float]
    ) -> None:
        self._database = database
        self._builder = builder
        self._add_task = add_task
        self._now = now
        self._known = database.runs()
        self._readings: dict[str, RunReading] = {}

    def look(self) -> bool:
        """Read all runs; new and changed ones become tasks. False: one of them rests, so repeat this."""
        runs = self._database.runs()
        changed = [run_id for run_id, row in runs.items() if self._known.get(run_id) != row]
        self._readings = {run_id: one for run_id, one in self._readings.items() if not one.rested}
        for run_id in changed:
            if run_id not in self._readings:
                self._readings[run_id] = RunReading(self._database, self._builder, run_id, self._now)
                self._add_task(self._readings[run_id])
                self._known[run_id] = runs[run_id]
        return all(self._known[run_id] == runs[run_id] for run_id in changed)


class RunReading:
    """All analyses of one run, through the index on run_id. Then it rests, to take a tenth of the time at most."""

    def __init__(self, database: Database, builder: EventBuilder, run_id: str, now: Callable[[], float]) -> None:
        self._database = database
        self._builder = builder
        self._run_id = run_id
        self._now = now
        self._after = -1
        self._spent = 0.0
        self._rested_at: float | None = None

    @property
    def rested(self) -> bool:
        """Whether it has ended long enough ago to be done again."""
        return self._rested_at is not None and self._now() >= self._rested_at

    def turn(self) -> list[Event] | None:
        """Give the next page; None at the end."""
        if self._rested_at is not None:
            return None
        began = self._now()
        analyses = self._database.analyses_of_run(self._run_id, self._after, _PAGE)
        found = build_analysed(self._database, self._builder, analyses)
        self._spent += self._now() - began
        if len(analyses) < _PAGE:
            self._rested_at = self._now() + DUTY_CYCLE * self._spent
        else:
            self._after = analyses[-1].comment_id
        return found

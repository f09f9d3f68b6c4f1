"""What a poll may say that it has seen."""

import itertools
from pathlib import Path

from consumer.tail.changes.poll import Heads, Polling
from consumer.tail.rows.event_builder import EventBuilder
from consumer.tail.rows.fingerprints import RowFingerprints
from consumer.tail.rows.revisions import Revisions
from projections.database.database import open_databases
from snapshot.runtime.metrics import NoMetrics
from support.whiteballoon import WhiteBalloon


class Slow:
    """Takes a second to be read, so it rests for nine."""

    def __init__(self, time: list[float]) -> None:
        self._time = time

    def look(self) -> bool:
        self._time[0] += 1
        return True


def test_what_was_seen_moves_though_somebody_commits_all_the_time_and_wholes_rest_by_turns(tmp_path: Path) -> None:
    white_balloon = WhiteBalloon.in_folder(tmp_path)
    time = [0.0]
    clock = itertools.count(1)
    with open_databases(white_balloon.main_url, white_balloon.insights_url, host_clock=lambda: next(clock)) as database:
        builder = EventBuilder(
            database, database.groups(), RowFingerprints(), Revisions(database.clock, 0), NoMetrics()
        )
        wholes = [Slow(time), Slow(time)]
        polling = Polling(database, builder, Heads(0, 0), wholes, dated=lambda: iter([]), page=10, now=lambda: time[0])
        polling._wholes[1]._rested_at = 5.0  # noqa: SLF001 - the other one rests while this one is read
        seen = []
        for _ in range(20):
            white_balloon.add_user()
            list(polling.work())
            seen.append(polling.seen.at)
            time[0] += 4  # the next interval; no poll finds both rested
    assert seen == sorted(seen)
    assert len(set(seen)) > 10

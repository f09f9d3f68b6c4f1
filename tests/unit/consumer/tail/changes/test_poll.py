"""What a poll may say that it has seen."""

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


def test_polls_are_handed_out_though_something_is_committed_all_the_time_and_full_reads_rest_in_turn(
    tmp_path: Path,
) -> None:
    white_balloon = WhiteBalloon.in_folder(tmp_path)
    time = [0.0]
    with open_databases(white_balloon.main_url, white_balloon.insights_url) as database:
        builder = EventBuilder(
            database, database.groups(), RowFingerprints(), Revisions(database.clock, 0), NoMetrics()
        )
        full_reads = [Slow(time), Slow(time)]
        polling = Polling(
            database, builder, Heads(0, 0), full_reads, index_lookup=lambda: iter([]), page=10, now=lambda: time[0]
        )
        polling._full_reads[1]._rested_at = 5.0  # noqa: SLF001 - the other one rests while this one is read
        handed_out = []
        for place in range(1, 21):
            white_balloon.add_user()
            list(polling.work(place))
            handed_out.append(polling.handed_out.at)
            time[0] += 4  # the next interval; no poll finds both rested
    assert handed_out == sorted(handed_out)
    assert len(set(handed_out)) > 10

"""What a poll may say that it has seen."""

from datetime import datetime
from pathlib import Path

from consumer.tail.changes.blocked_deletions import DeletionGuard
from consumer.tail.changes.poll import Heads, Polling
from consumer.tail.rows.event_builder import EventBuilder
from consumer.tail.rows.fingerprints import RowFingerprints
from consumer.tail.rows.revisions import Revisions
from projections.database.database import open_databases
from snapshot.runtime.metrics import NoMetrics
from support.tailing import Embedded
from support.whiteballoon import WhiteBalloon, execute


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
            database,
            builder,
            DeletionGuard(prune_all=False, now=lambda: time[0]),
            Heads(0, 0),
            full_reads,
            index_lookup=lambda: iter([]),
            page=10,
            now=lambda: time[0],
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


def test_ids_that_are_given_again_end_no_more_comments_than_the_guard_lets_pass(tmp_path: Path) -> None:
    wb = WhiteBalloon.in_folder(tmp_path)
    elm, members = wb.add_group("elm", "Elm", members=40)
    oak, [other] = wb.add_group("oak", "Oak")
    wb.comments([_row(number, members[number % 40], elm) for number in range(1, 201)])
    embedded = Embedded(wb)
    embedded.catch_up()
    leased = embedded.source._leased  # noqa: SLF001 - to see what is blocked

    def lost(rows: int) -> list[int]:
        """The highest rows go; then as many of another's come."""
        execute(wb.main_url, f"DELETE FROM request_comments WHERE id > {200 - rows}")  # noqa: S608 - our own number
        embedded.until(lambda: leased.tail is not None and leased.tail.state().comment_head == 200 - rows)
        wb.comments([_row(number, other, oak) for number in range(201 - rows, 201)])
        embedded.catch_up()
        return sorted({event.comment_id for event in embedded.drift()})

    assert lost(19) == []
    assert lost(150) == list(range(51, 182))
    assert leased.tail is not None
    assert leased.tail.is_blocked
    embedded.close()


def _row(number: int, user: int, request: int) -> dict[str, object]:
    at = datetime(2024, 6, 1)  # noqa: DTZ001 - as WhiteBalloon stores times
    return {"id": number, "user_id": user, "help_request_id": request, "body": "https://a.org", "created_at": at}

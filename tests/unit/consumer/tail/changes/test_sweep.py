"""What a round lets end, with what others let pass before it."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from consumer.tail.changes import sweep as sweep_module
from consumer.tail.changes.backlog import Tasks
from consumer.tail.changes.blocked_deletions import DeletionGuard, without_mass_deletion
from consumer.tail.changes.memberships import MembershipChanges
from consumer.tail.changes.sweep import Sweep
from consumer.tail.rows.event_builder import EventBuilder
from consumer.tail.rows.fingerprints import RowFingerprints
from consumer.tail.rows.revisions import Revisions
from projections.comments.events import Event
from projections.database.database import Database, DatabaseUnavailableError, open_databases
from projections.whiteballoon import request_comments
from snapshot.deletion_guard import PendingDeletions, Totals
from snapshot.runtime.metrics import NoMetrics
from support.whiteballoon import WhiteBalloon

COMMENTS = 100
_TIME = datetime(2024, 6, 1)  # noqa: DTZ001 - as WhiteBalloon stores times


class Swept(NamedTuple):
    """A sweep that knows all comments, and everything that it works with."""

    wb: WhiteBalloon
    database: Database
    builder: EventBuilder
    guard: DeletionGuard
    sweep: Sweep

    def delete(self, *numbers: int) -> None:
        with self.wb.main.begin() as connection:
            connection.execute(request_comments.delete().where(request_comments.c.id.in_(numbers)))

    def add(self, *numbers: int, user: int, request: int) -> None:
        self.wb.comments([_row(number, user, request) for number in numbers])

    def poll(self, *numbers: int) -> list[Event]:
        """As polling does where an id is given again."""
        rows = self.database.comments_by_ids(numbers)
        return self.builder.build(without_mass_deletion(self.builder, self.guard, rows))

    def round(self, meanwhile: Callable[[], object] = lambda: None) -> set[int]:
        """The comments of its events; `meanwhile` happens after its first page."""
        self.sweep.begin()
        found = list(self.sweep.turn() or ())
        meanwhile()
        while (page := self.sweep.turn()) is not None:
            found += page
        return {event.comment_id for event in found}


def _row(number: int, user: int, request: int) -> dict[str, object]:
    return {"id": number, "user_id": user, "help_request_id": request, "body": "Hello", "created_at": _TIME}


@pytest.fixture
def swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Swept]:
    monkeypatch.setattr(sweep_module, "_PAGE", COMMENTS // 2)
    wb = WhiteBalloon.in_folder(tmp_path)
    elm, [member] = wb.add_group("elm", "Elm")
    wb.add_group("oak", "Oak")
    wb.comments([_row(number, member, elm) for number in range(1, COMMENTS + 1)])
    with open_databases(wb.main_url, wb.insights_url) as database:
        revisions = Revisions(database.clock, 0)
        builder = EventBuilder(database, database.groups(), RowFingerprints(), revisions, NoMetrics())
        guard = DeletionGuard(prune_all=False, now=lambda: 0.0)
        sweep = Sweep(database, builder, guard, head=lambda: 10 * COMMENTS, rows_per_second=10**9, now=lambda: 0.0)
        one = Swept(wb, database, builder, guard, sweep)
        assert len(one.round()) == COMMENTS
        yield one


def test_what_passed_at_once_stays_part_of_what_is_blocked(swept: Swept) -> None:
    """Ids that are given again make less and less of what is missing, until the rest alone is too little to ask."""
    oak, [other] = swept.wb.add_group("ash", "Ash")
    swept.delete(*range(71, 101))
    swept.add(*range(71, 81), user=other, request=oak)
    assert {event.comment_id for event in swept.poll(*range(71, 81))} == set(range(71, 81))
    assert swept.round() == set()
    assert swept.guard.blocked["sweep"].startswith("30 of 100 comments")
    swept.add(*range(81, 87), user=swept.database.comments_by_ids([1])[0].user_id, request=1)
    assert swept.round() == set()
    assert swept.guard.blocked["sweep"].startswith("24 of 100 comments")  # 14 are missing, and 10 went before


def test_once_the_rows_are_back_what_passed_is_forgotten(swept: Swept) -> None:
    ash, [other] = swept.wb.add_group("ash", "Ash")
    member = swept.database.comments_by_ids([1])[0].user_id
    swept.delete(*range(71, 101))
    swept.add(*range(71, 81), user=other, request=ash)
    swept.poll(*range(71, 81))
    assert swept.round() == set()
    swept.add(*range(81, 101), user=member, request=1)
    swept.round()
    assert not swept.guard.is_blocked
    swept.delete(*range(81, 96))
    assert swept.round() == set(range(81, 96))


def test_a_mass_deletion_that_falls_into_a_round_is_judged_as_a_whole(swept: Swept) -> None:
    """Each of two rounds sees a part that is too little to ask; the second asks for both."""
    half = COMMENTS // 2
    first, second = range(1, 16), range(half + 1, half + 16)
    assert swept.round(lambda: swept.delete(*first, *second)) == set(second)
    assert swept.round() == set()
    assert swept.guard.blocked["sweep"].startswith("30 of 100 comments")


def test_what_a_round_let_end_is_not_counted_again_where_nothing_was_committed_meanwhile(swept: Swept) -> None:
    for numbers in (range(1, 16), range(16, 31)):
        swept.delete(*numbers)
        assert swept.round() == set(numbers)
    assert not swept.guard.is_blocked


def test_a_round_with_nothing_to_remove_is_not_blocked(swept: Swept) -> None:
    """What passed before is too much only beside the fewer comments that there are since one's membership ended."""
    ash, [leaves] = swept.wb.add_group("ash", "Ash")
    swept.add(*range(101, 301), user=leaves, request=ash)
    tasks = Tasks()
    memberships = MembershipChanges(swept.database, swept.builder, swept.guard, tasks.add)

    def memberships_change() -> None:
        memberships.look()
        while tasks.turn() is not None:
            pass

    memberships_change()
    swept.poll(*range(101, 301))
    assert swept.round(lambda: swept.delete(*range(60, 85))) == set(range(60, 85))  # 25 of 300, in a part of a round
    swept.wb.leave(leaves, "ash")
    memberships_change()
    assert not swept.guard.is_blocked
    swept.add(101 + COMMENTS * 2, user=leaves, request=ash)
    swept.round()
    assert not swept.guard.is_blocked


def test_what_a_round_found_waits_while_the_stores_comparison_blocks_the_rest(swept: Swept) -> None:
    swept.delete(*range(1, 6))
    swept.guard.blocks("store", PendingDeletions({None: [0, 30]}), Totals(comments=COMMENTS))
    assert swept.round() == set()
    assert swept.sweep.held
    swept.guard.blocks("store", PendingDeletions(), Totals(comments=COMMENTS))
    assert swept.round() == set(range(1, 6))
    assert not swept.sweep.held


def test_a_round_that_fails_between_two_pages_is_not_judged_again(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 of 200 may go; when 10 of them went, 20 of 190 would be too many."""
    member = swept.database.comments_by_ids([1])[0].user_id
    swept.add(*range(101, 201), user=member, request=1)
    swept.poll(*range(101, 201))
    swept.delete(*range(1, 21))
    monkeypatch.setattr(sweep_module, "_DELETIONS_PAGE", 10)
    forget, calls = swept.builder.fingerprints.forget, list[int]()

    def fails_once(ids: Iterable[int]) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise DatabaseUnavailableError("away")
        forget(ids)

    monkeypatch.setattr(swept.builder.fingerprints, "forget", fails_once)
    with pytest.raises(DatabaseUnavailableError):
        swept.round()
    while swept.sweep.turn() is not None:
        pass
    assert not swept.guard.is_blocked
    assert len(swept.builder.fingerprints) == 180

"""Soft deletions and replaced analyses, where the database has an index on their time: no sweep is needed."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from consumer.tail.changes.blocked_deletions import DeletionGuard
from consumer.tail.changes.index_lookup import IndexLookup
from consumer.tail.rows.event_builder import EventBuilder
from consumer.tail.rows.fingerprints import RowFingerprints
from consumer.tail.rows.revisions import Revisions
from projections.database.database import open_databases
from snapshot.runtime.metrics import NoMetrics
from support.tailing import QUICK, Embedded
from support.whiteballoon import WhiteBalloon, execute

MANY = 150
"""More than are looked at in one go."""
COMMENTS = "ix_comments ON request_comments (deleted_at)"
ANALYSES = "ix_analyses ON comment_llm_analyses (recorded_at)"
SWEEPLESS = msgspec.structs.replace(QUICK, sweep_interval=86_400.0)
CONFIRMED = msgspec.structs.replace(SWEEPLESS, prune_all=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def wb(request: pytest.FixtureRequest, tmp_path: Path) -> WhiteBalloon:
    if request.param == "sqlite":
        return WhiteBalloon.in_folder(tmp_path / "wb")
    url: str = request.getfixturevalue("postgres_url")
    made = WhiteBalloon(url, url)
    made.create()
    return made


def index(url: str, definition: str) -> None:
    with create_engine(url, poolclass=NullPool).begin() as connection:
        connection.execute(text(f"CREATE INDEX {definition}"))


def soft_delete_until(wb: WhiteBalloon, last: int) -> None:
    change = text("UPDATE request_comments SET deleted_at = created_at WHERE id <= :last")
    with create_engine(wb.main_url, poolclass=NullPool).begin() as connection:
        connection.execute(change, {"last": last})


@pytest.fixture
def comments(wb: WhiteBalloon) -> list[int]:
    """One user's, all analysed; and one that was deleted long ago."""
    group, [user] = wb.add_group("elm", "Elm St")
    ids = [wb.comment(user, group) for _ in range(MANY + 10)]
    for one in ids:
        wb.analyse(one, tags=["old"])
    wb.soft_delete(wb.comment(user, group), datetime(2020, 1, 1))  # noqa: DTZ001 - UTC without a zone, as there
    return ids


@pytest.fixture
def embedded(wb: WhiteBalloon, comments: list[int]) -> Iterator[Embedded]:
    """With both indexes, and after its first round; no other follows. Deletions are confirmed."""
    assert comments
    index(wb.main_url, COMMENTS)
    index(wb.insights_url, ANALYSES)
    made = Embedded(wb, settings=CONFIRMED)
    made.until(lambda: made.drift() == [])
    yield made
    made.close()


def test_soft_deletions_are_found_by_polling(wb: WhiteBalloon, embedded: Embedded, comments: list[int]) -> None:
    wb.soft_delete(comments[3])
    embedded.until(lambda: embedded.drift() == [])
    for one in comments[5 : 5 + MANY]:
        wb.soft_delete(one)
    embedded.until(lambda: embedded.drift() == [])


def test_more_at_once_than_are_looked_at_first(wb: WhiteBalloon, embedded: Embedded, comments: list[int]) -> None:
    soft_delete_until(wb, comments[MANY - 1])
    embedded.until(lambda: embedded.drift() == [])


@pytest.mark.parametrize(("deleted", "left"), [(16, 0), (19, 0), (20, 20), (MANY, MANY)])
def test_so_many_soft_deletions_at_once_ask_the_guard_like_those_of_a_sweep(
    wb: WhiteBalloon, comments: list[int], deleted: int, left: int
) -> None:
    index(wb.main_url, COMMENTS)
    made = Embedded(wb, settings=SWEEPLESS)
    made.until(lambda: made.drift() == [])
    soft_delete_until(wb, comments[deleted - 1])
    leased = made.source._leased  # noqa: SLF001 - to see that it polled
    new = wb.comment(wb.add_user(), 1)
    made.until(lambda: leased.tail is not None and leased.tail.state().comment_head == new)
    for _ in range(5):  # what that poll found besides
        made.step()
    assert len(made.drift()) == left
    made.close()


def test_replaced_analyses_are_found_by_polling(wb: WhiteBalloon, embedded: Embedded, comments: list[int]) -> None:
    wb.analyse(comments[3], tags=["new"], recorded_at="2024-06-02T09:00:00", counted=False)
    embedded.until(lambda: embedded.drift() == [])
    with create_engine(wb.insights_url, poolclass=NullPool).begin() as connection:
        change = "UPDATE comment_llm_analyses SET tags = 'newer', recorded_at = '2024-06-02T10:00:00'"
        connection.execute(text(f"{change} WHERE comment_id <= :last"), {"last": comments[MANY - 1]})
    embedded.until(lambda: embedded.drift() == [])


def test_comments_that_cannot_be_understood_any_more_do_not_end_by_new_analyses(tmp_path: Path) -> None:
    """That is for the sweep's deletion guard to decide."""
    wb = WhiteBalloon.in_folder(tmp_path / "wb")
    group, [user] = wb.add_group("elm", "Elm St")
    ids = [wb.comment(user, group) for _ in range(3)]
    index(wb.insights_url, ANALYSES)
    with open_databases(wb.main_url, wb.insights_url) as database:
        builder = EventBuilder(
            database, database.groups(), RowFingerprints(), Revisions(database.clock, 0), NoMetrics()
        )
        builder.build(database.comments_after(0))
        execute(wb.main_url, "UPDATE request_comments SET created_at = 'then' WHERE id < 3")
        for one in ids:
            wb.analyse(one, tags=["new"])
        lookup = IndexLookup(database, builder, DeletionGuard(prune_all=False, now=lambda: 0.0))
        found = [event for page in lookup.work() for event in page]
    assert ids == [1, 2, 3]
    assert {event.comment_id for event in found} == {3}


def test_an_index_that_appears_later_is_used_within_a_minute(tmp_path: Path) -> None:
    """Such as that of an analyses' database that WhiteBalloon makes with its first analysis."""
    wb = WhiteBalloon.in_folder(tmp_path / "wb")
    group, [user] = wb.add_group("elm", "Elm St")
    one, now = wb.comment(user, group), [0.0]
    with open_databases(wb.main_url, wb.insights_url) as database:
        builder = EventBuilder(
            database, database.groups(), RowFingerprints(), Revisions(database.clock, 0), NoMetrics()
        )
        builder.build(database.comments_after(0))
        guard = DeletionGuard(prune_all=False, now=lambda: 0.0)
        lookup = IndexLookup(database, builder, guard, lambda: now[0])
        index(wb.insights_url, ANALYSES)
        wb.analyse(one, tags=["new"])
        assert [event for page in lookup.work() for event in page] == []
        now[0] = 60.0
        assert {event.comment_id for page in lookup.work() for event in page} == {one}


def test_without_an_index_they_wait_for_the_sweep(wb: WhiteBalloon, comments: list[int]) -> None:
    embedded = Embedded(wb, settings=SWEEPLESS)
    embedded.until(lambda: embedded.drift() == [])
    wb.soft_delete(comments[3])
    wb.analyse(comments[4], tags=["new"], recorded_at="2024-06-02T09:00:00", counted=False)
    new = wb.comment(wb.add_user(), 1)
    leased = embedded.source._leased  # noqa: SLF001 - to see that it polled
    embedded.until(lambda: leased.tail is not None and leased.tail.state().comment_head == new)
    assert {event.comment_id for event in embedded.drift()} == {comments[3], comments[4]}
    embedded.close()


@pytest.mark.parametrize(
    ("definition", "leads"),
    [
        (COMMENTS, True),
        (f"{COMMENTS} WHERE deleted_at IS NOT NULL", True),
        (f"{COMMENTS} WHERE deleted_at IS NOT NULL AND sync_scope = 'public'", False),
        ("ix_comments ON request_comments (user_id, deleted_at)", False),
        ("ix_comments ON request_comments (deleted_at, user_id)", True),
    ],
)
def test_only_an_index_that_leads_to_the_last_ones_is_used(wb: WhiteBalloon, definition: str, leads: bool) -> None:
    index(wb.main_url, definition)
    with open_databases(wb.main_url, wb.insights_url) as database:
        assert database.indexed() == (leads, False)


def test_the_last_ones_come_first_and_none_without_a_time(wb: WhiteBalloon, comments: list[int]) -> None:
    late = datetime(2024, 6, 1)  # noqa: DTZ001 - as above
    for number, one in enumerate(comments[:5]):
        wb.soft_delete(one, late + timedelta(seconds=number))
    with open_databases(wb.main_url, wb.insights_url) as database:
        found = database.latest_deleted(3)
        assert [row.comment_id for row in found] == comments[4:1:-1]
        assert len(database.latest_deleted(100)) == 6
        assert len(database.latest_analyses(7)) == 7


def test_sqlite_reads_no_more_of_the_index_than_that(tmp_path: Path) -> None:
    wb = WhiteBalloon.in_folder(tmp_path / "wb")
    index(wb.main_url, f"{COMMENTS} WHERE deleted_at IS NOT NULL")
    asked = "SELECT * FROM request_comments WHERE deleted_at > '' ORDER BY deleted_at DESC LIMIT 100"
    with create_engine(wb.main_url, poolclass=NullPool).connect() as connection:
        [plan] = connection.execute(text(f"EXPLAIN QUERY PLAN {asked}")).all()
    assert "SEARCH" in plan.detail
    assert "ix_comments (deleted_at>?)" in plan.detail

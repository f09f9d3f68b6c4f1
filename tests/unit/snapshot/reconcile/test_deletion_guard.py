"""What would remove too much at once is blocked, and what one person did on purpose passes."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from projections.store.memory import MemoryStore
from snapshot.rebuild.report import Report
from support.rebuilding import Town
from support.stores import NOW, Clock
from support.whiteballoon import WhiteBalloon

MEMBERS, EACH = 40, 5
BOTH = pytest.mark.parametrize("dry_run", [False, True])


@pytest.fixture
def wb(tmp_path: Path) -> WhiteBalloon:
    """Two groups of 20 members, five comments of each, all tagged. Comments 1 to 100 are those of the first."""
    wb = WhiteBalloon.in_folder(tmp_path / "data")
    rows = []
    for slug in ("elm", "oak"):
        request, users = wb.add_group(slug, slug.title(), members=MEMBERS // 2)
        rows += [(user, request) for user in users for _ in range(EACH)]
    start = datetime(2024, 6, 1)  # noqa: DTZ001 - as WhiteBalloon stores times
    wb.comments(
        [
            {"id": 1 + number, "user_id": user, "help_request_id": request, "body": "https://a.org",
             "created_at": start + timedelta(seconds=number)}
            for number, (user, request) in enumerate(rows)
        ]
    )  # fmt: skip
    for number in range(1, 101):
        wb.analyse(number, tags=["tag"])
    return wb


@pytest.fixture
def town(tmp_path: Path, wb: WhiteBalloon) -> Iterator[Town]:
    clock = Clock()
    town = Town(tmp_path, wb, MemoryStore(clock, NOW), clock.wait)
    assert town.rebuild().missing == MEMBERS
    yield town
    town.database.close()


def blocked(town: Town, says: str, *, dry_run: bool = False) -> None:
    """It stops with exit code 2, has changed nothing, and says what it saw; --prune-all lets it pass."""
    files, announced = town.files(), len(town.announced.all)
    stored = {key: town.fields(key) for key in town.store.profiles(0, 1000)}
    report = town.rebuild(dry_run=dry_run)
    assert report.exit_code == 2
    assert report.blocked == says
    assert (town.files(), len(town.announced.all)) == (files, announced)
    assert {key: town.fields(key) for key in town.store.profiles(0, 1000)} == stored
    assert town.rebuild(prune_all=True).exit_code == 1
    town.check()
    assert town.rebuild(deep=True).exit_code == 0


@BOTH
def test_a_tenth_of_the_comments(town: Town, wb: WhiteBalloon, dry_run: bool) -> None:
    for number in range(1, 22):
        wb.hard_delete(number)
    blocked(town, "21 of 200 comments", dry_run=dry_run)


def passes(town: Town) -> Report:
    report = town.rebuild()
    assert report.blocked is None
    assert report.exit_code == 1
    town.check()
    assert town.rebuild(deep=True).exit_code == 0
    return report


def test_less_than_a_tenth_passes(town: Town, wb: WhiteBalloon) -> None:
    for number in range(1, 21):
        wb.hard_delete(number)
    assert passes(town).orphaned == 4


@BOTH
def test_a_tenth_of_the_profiles(town: Town, wb: WhiteBalloon, dry_run: bool) -> None:
    for user in range(1, 21):
        wb.leave(user, "elm")
    blocked(town, "20 of 40 profiles and 100 of 200 comments", dry_run=dry_run)


@BOTH
def test_all_tags(town: Town, wb: WhiteBalloon, dry_run: bool) -> None:
    for number in range(1, 101):
        wb.remove_analysis(number)
    blocked(town, "100 of 100 tagged comments' tags", dry_run=dry_run)


def test_soft_deletions_end_comments_too(town: Town, wb: WhiteBalloon) -> None:
    for number in range(1, 31):
        wb.soft_delete(number)
    blocked(town, "30 of 200 comments")


def test_one_request_renamed_passes_however_many_comments_it_moves(town: Town, wb: WhiteBalloon) -> None:
    wb.rename_request(1, "[Signal] Another")
    assert passes(town).orphaned == MEMBERS // 2


def test_one_membership_ended_passes(town: Town, wb: WhiteBalloon) -> None:
    request = wb.add_request("[Signal] Elm")
    for _ in range(60):
        wb.comment(1, request)
    passes(town)
    wb.leave(1, "elm")
    assert passes(town).orphaned == 1


def test_a_request_renamed_does_not_excuse_what_is_lost_beside_it(town: Town, wb: WhiteBalloon) -> None:
    wb.rename_request(1, "[Signal] Another")
    for number in range(101, 131):
        wb.hard_delete(number)
    blocked(town, "30 of 200 comments")


def test_some_users_are_measured_by_all_there_is(town: Town, wb: WhiteBalloon) -> None:
    for number in range(1, 21):
        wb.hard_delete(number)
    assert town.rebuild(*range(1, 9)).blocked is None
    for number in range(21, 61):
        wb.hard_delete(number)
    assert town.rebuild(*range(5, 13)).blocked == "40 of 180 comments"


def test_a_small_place_may_lose_everything_but_all_its_tags(tmp_path: Path) -> None:
    wb = WhiteBalloon.in_folder(tmp_path / "small")
    request, (ann,) = wb.add_group("elm", "Elm")
    numbers = [wb.comment(ann, request) for _ in range(6)]
    for number in numbers:
        wb.analyse(number, tags=["tag"])
    clock = Clock()
    town = Town(tmp_path, wb, MemoryStore(clock, NOW), clock.wait)
    town.rebuild()
    wb.hard_delete(numbers[0])  # one that goes by itself doesn't hide that all the others lose theirs
    for number in numbers:
        wb.remove_analysis(number)
    blocked(town, "all tags, those of 5 comments")
    wb.leave(ann, "elm")
    assert town.rebuild().orphaned == 1
    town.database.close()

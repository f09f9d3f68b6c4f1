"""The first pass over all rows: its cost follows the rows that there are, not their ids."""

from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from projections.profile_key import HIGHEST_ID
from projections.store.memory import MemoryStore
from snapshot.rebuild.detect import id_ranges
from support.rebuilding import Town
from support.stores import NOW, Clock
from support.whiteballoon import WhiteBalloon


@pytest.mark.parametrize("highest", [2**40, HIGHEST_ID])
def test_ids_may_lie_far_apart(tmp_path: Path, highest: int) -> None:
    wb = WhiteBalloon.in_folder(tmp_path / "data")
    request, users = wb.add_group("elm", "Elm", members=3)
    ids = [*range(1, 10), 10**6, highest - 70_000, highest]
    for number, comment_id in enumerate(ids):
        wb.comment(users[number % 3], request, "https://a.org", comment_id=comment_id)
    clock = Clock()
    town = Town(tmp_path, wb, MemoryStore(clock, NOW), clock.wait)
    ranges = list(id_ranges(town.database, 1))
    assert [one.low for one in ranges] == [1, 10**6, highest - 70_000, highest]
    assert all(sum(one.low <= comment_id <= one.high for one in ranges) == 1 for comment_id in ids)
    assert (town.rebuild().exit_code, town.rebuild().exit_code) == (1, 0)
    town.check()
    town.database.close()


def test_the_ranges_widen_where_there_are_many(tmp_path: Path) -> None:
    wb = WhiteBalloon.in_folder(tmp_path / "data")
    request, (ann,) = wb.add_group("elm", "Elm")
    at = datetime(2024, 6, 1)  # noqa: DTZ001 - as WhiteBalloon stores times
    row = {"user_id": ann, "help_request_id": request, "body": "hello", "created_at": at}
    wb.comments([{**row, "id": number * 60_000} for number in range(1, 1_201)])
    town = Town(tmp_path, wb, MemoryStore(Clock(), NOW), Clock().wait)
    ranges = list(id_ranges(town.database, 1))
    assert len(ranges) == 1_000 + 100
    assert all(one.high < after.low for one, after in pairwise(ranges))
    town.database.close()

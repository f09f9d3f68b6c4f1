"""The tail of whoever holds the lease: what others see of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.tail.source import DatabaseTail
from projections.database.database import Database, open_databases
from projections.projection import Projection
from projections.store.memory import MemoryStore
from support.metrics import RecordedMetrics
from support.tailing import QUICK
from support.whiteballoon import WhiteBalloon


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    wb = WhiteBalloon.in_folder(tmp_path)
    request, (ann,) = wb.add_group("elm", "Elm")
    wb.comment(ann, request)
    with open_databases(wb.main_url, wb.insights_url) as opened:
        yield opened


def test_who_loses_the_lease_takes_back_what_only_its_holder_knows(database: Database) -> None:
    seconds = [1_000.0]
    store = MemoryStore(lambda: int(seconds[0] * 1e6))
    first, second = RecordedMetrics(), RecordedMetrics()
    one, two = (
        DatabaseTail(Projection(store), database, QUICK, metrics=metrics, now=lambda: seconds[0], sleep=lambda _: None)
        for metrics in (first, second)
    )
    one.poll(0)
    two.poll(0)
    assert first.gauges["signal_glaze.blocked_deletions"] == 0
    assert second.gauges == {}  # it is not for it to say
    known = {"signal_glaze.blocked_deletions": 1.0, "signal_glaze.gaps": 3.0, "signal_glaze.sweep_round_seconds": 9.0}
    first.gauges |= known
    seconds[0] += 10 * QUICK.lease
    two.poll(0)
    one.poll(0)
    assert first.gauges.items() >= dict.fromkeys(known, 0).items()
    assert second.gauges["signal_glaze.blocked_deletions"] == 0

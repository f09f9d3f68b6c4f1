"""A pass that waits lets whoever turns the tail rest."""

from typing import Any, cast

from consumer.tail.rows.revisions import Revisions
from consumer.tail.verify.store_check import StoreCheck
from projections.projection import Projection
from projections.store.memory import MemoryStore
from snapshot.runtime.metrics import NO_METRICS


class Behind:
    """Consumers that never get there."""

    in_process = False

    def begin_pass(self, *, first: bool) -> None: ...

    def ready(self) -> bool:
        return False


class NothingRecent:
    def __init__(self) -> None:
        self.recent = set[int]()
        self.revisions = Revisions(lambda: 0, 0)


def test_a_pass_that_waits_for_the_consumers_is_not_due_at_once() -> None:
    unused = cast("Any", None)
    check = StoreCheck(
        Projection(MemoryStore(lambda: 0)),
        unused,
        cast("Any", NothingRecent()),
        unused,
        Behind(),
        first_pass=False,
        interval=5.0,
        metrics=NO_METRICS,
        now=lambda: 100.0,
    )
    assert check.turn() is None
    assert 100.0 < check.due_at <= 101.0

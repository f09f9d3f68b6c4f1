"""The flusher's thread, as the loop's sees it."""

from typing import TYPE_CHECKING, Any, cast

import pytest
from structlog.testing import capture_logs

from consumer.daemon.flush_worker import FlushWorker
from projections.errors import OperatorError
from snapshot.flush.batch import Flushed
from snapshot.flush.epochs import States

if TYPE_CHECKING:
    from projections.store.rollback import RollbackDetector
    from snapshot.flush.flusher import Flusher
    from snapshot.flush.scrub import Scrub


class Waiting:
    """Stands for a flusher, its scrub and a detector: something is claimed for eleven more seconds."""

    accepted = True
    trouble: str | None = None

    def __init__(self) -> None:
        self.during: list[bool] = []
        self.flush_worker = FlushWorker(
            cast("Flusher", self), cast("Scrub", self), cast("RollbackDetector", self), lambda: 0.0
        )

    def add_folder(self) -> None: ...

    def measure(self) -> None: ...

    def recover_lost(self) -> States:
        return ()

    def step(self, _states: States) -> None: ...

    def pending_buckets(self) -> list[int]:
        return []

    def wait(self) -> float:
        return 11.0

    def flush(self) -> Flushed:
        self.during.append(self.flush_worker.idle())
        return Flushed()


def test_waiting_for_others_is_logged_only_where_no_batch_of_ours_is_under_way() -> None:
    one = Waiting()
    with capture_logs() as during:
        one.flush_worker.step()
    assert one.during == [False]
    assert during == []
    with capture_logs() as after:
        assert not one.flush_worker.idle()
    assert [cast("dict[str, Any]", said)["seconds"] for said in after] == [11.0]


def test_what_others_make_due_meanwhile_keeps_no_run_from_its_end() -> None:
    now = 0.0
    flusher = Waiting()
    worker = FlushWorker(
        cast("Flusher", flusher), cast("Scrub", flusher), cast("RollbackDetector", flusher), lambda: now
    )
    assert not worker.idle()
    now = 30.0
    assert worker.idle()
    flusher.trouble = "the disk is full"
    with pytest.raises(OperatorError, match="the disk is full"):
        worker.idle()
    worker.ask_again()
    assert not worker.idle()

"""The flusher's thread, as the loop's sees it."""

from typing import TYPE_CHECKING, Any, cast

import pytest
from structlog.testing import capture_logs

from consumer.daemon.flush_worker import BEHIND_SECONDS, FlushWorker
from projections.errors import OperatorError
from projections.profile_key import BUCKETS
from snapshot.flush.batch import Flushed

if TYPE_CHECKING:
    from projections.store.rollback import RollbackDetector
    from snapshot.flush.flusher import Flusher
    from snapshot.flush.scrub import Scrub


class Waiting:
    """Stands for a flusher, its scrub and a detector: something is claimed for eleven more seconds."""

    accepted = True
    trouble: str | None = None
    due = 11.0
    left = 0

    def __init__(self) -> None:
        self.during: list[bool] = []
        self.flushed: list[list[int]] = []
        self.delays: list[float] = []
        self.behind = False
        self.flush_worker = FlushWorker(
            cast("Flusher", self),
            cast("Scrub", self),
            cast("RollbackDetector", self),
            lambda: 0.0,
            lambda: self.behind,
        )

    def add_folder(self) -> None: ...

    def measure(self, delay: float) -> None:
        self.delays.append(delay)

    def recover_lost(self) -> None: ...

    def step(self) -> None: ...

    def pending_buckets(self) -> list[int]:
        return []

    def wait(self) -> float:
        return self.due

    def waiting(self) -> int:
        return self.left

    def overdue(self, seconds: float) -> list[int]:
        return [7] if seconds == BEHIND_SECONDS else []

    def flush(self, buckets: range | list[int]) -> Flushed:
        self.flushed.append(list(buckets))
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


def test_what_was_due_by_then_is_waited_for_however_long_it_takes() -> None:
    """A slow disk flushes 25,000 profiles for a minute; the run ended before with exit code 0 and files missing."""
    now = 0.0
    flusher = Waiting()
    worker = FlushWorker(
        cast("Flusher", flusher), cast("Scrub", flusher), cast("RollbackDetector", flusher), lambda: now
    )
    for at in (0.0, 30.0, 100.0):
        now = at
        flusher.due = -now - 1.0
        assert not worker.idle()
    flusher.due = 0.0
    assert worker.idle()


def test_what_a_slow_disk_gave_back_is_waited_for_too() -> None:
    """It is due again, later than it was: seen as a run that ended with two files of three missing."""
    now = 0.0
    flusher = Waiting()
    flusher.left, flusher.due = 3, 0.0
    worker = FlushWorker(
        cast("Flusher", flusher), cast("Scrub", flusher), cast("RollbackDetector", flusher), lambda: now
    )
    for at, ended in ((0.0, 0), (30.0, 1), (60.0, 2)):
        now = at
        worker.flushed = Flushed(written=ended)
        assert not worker.idle()
    worker.flushed = Flushed(written=3)
    assert worker.idle()


def test_while_the_consumer_is_behind_only_what_waited_long_is_flushed() -> None:
    one = Waiting()
    one.behind = True
    assert one.flush_worker.step() > 0
    one.behind = False
    one.flush_worker.step()
    assert one.flushed == [[7], list(range(BUCKETS))]
    assert one.delays == [BEHIND_SECONDS], "said once a second"

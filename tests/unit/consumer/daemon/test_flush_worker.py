"""The flusher's thread, as the loop's sees it."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from consumer.daemon.flush_worker import BEHIND_SECONDS, FlushWorker
from projections.errors import OperatorError
from projections.profile_key import BUCKETS
from projections.projection import RULES_VERSION, Projection
from projections.store.memory import MemoryStore
from projections.store.protocol import InitialPositions, StoreUnavailableError
from projections.store.rollback import RollbackDetector
from snapshot.files.folder import open_folder
from snapshot.flush.batch import Flushed
from snapshot.flush.epochs import States
from snapshot.flush.flusher import Flusher
from snapshot.flush.scrub import Scrub
from snapshot.runtime.metrics import NoMetrics
from support.flushing import Interrupted, RecordingAnnouncer, fail_at
from support.histories import comment
from support.stores import ANN, Clock


class Waiting:
    """Stands for a flusher, its scrub and a detector: something is claimed for eleven more seconds."""

    accepted = True
    trouble: str | None = None
    unread: str | None = None
    due = 11.0
    left = 0

    def __init__(self) -> None:
        self.due = 11.0
        self.during: list[bool] = []
        self.flushed: list[list[int]] = []
        self.delays: list[float] = []
        self.behind, self.now = False, 0.0
        self.flush_worker = FlushWorker(
            cast("Flusher", self),
            cast("Scrub", self),
            cast("RollbackDetector", self),
            lambda: self.now,
            lambda: self.behind,
        )

    def add_folder(self) -> None: ...

    def measure(self, delay: float) -> None:
        self.delays.append(delay)

    def recover_lost(self, *, by_files: bool) -> States:  # noqa: ARG002  as the flusher takes it
        return ()

    def step(self, _states: States) -> None: ...

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
        self.due = 11.0
        self.during.append(self.flush_worker.idle())
        return Flushed()


def test_waiting_for_others_is_logged_only_where_it_lasts_and_no_batch_of_ours_is_under_way() -> None:
    """The claims of a batch of ours may end after they were looked up."""
    one = Waiting()
    one.due, one.now = 0.0, 60.0
    with capture_logs() as during:
        one.flush_worker.step()
        assert not one.flush_worker.idle()
        one.now += 1
        assert not one.flush_worker.idle()
    assert one.during == [False]
    assert during == []
    one.now += 1
    with capture_logs() as after:
        assert not one.flush_worker.idle()
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
    for behind in (True, False):
        one.behind, one.due = behind, 0.0
        one.now += 0.5
        assert one.flush_worker.step() > 0
    assert one.flushed == [[7], list(range(BUCKETS))]
    assert one.delays == [BEHIND_SECONDS], "said once a second"


class Idle:
    """A flush worker on a store in memory, by a clock of the test's; what it asked of the store is counted."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock, 0.5)
        self.store.initialize(InitialPositions({}, {}, RULES_VERSION))
        self.asked: Counter[str] = Counter()
        self.act: Callable[[str, str], object] = lambda _name, _when: None
        self.folder = open_folder(path, None)
        watched: Any = Interrupted(self.store, self._count)
        detector = RollbackDetector(watched)
        detector.accept()
        flusher = Flusher(Projection(watched), self.folder, RecordingAnnouncer(), NoMetrics(), now=self.now)
        self.worker = FlushWorker(flusher, Scrub(watched, self.folder, self.now), detector, self.now)
        self.run(20)
        self.asked.clear()

    def _count(self, name: str, when: str) -> None:
        self.asked[name] += when == "before"
        self.act(name, when)

    def now(self) -> float:
        return self.clock() / 1e6

    def run(self, seconds: float) -> None:
        """Step as the worker's thread does."""
        end = self.now() + seconds
        while self.now() < end:
            self.clock.wait(max(self.worker.step(), 0.001))

    def save(self, number: int) -> None:
        Projection(self.store).apply([comment(ANN, number, 1)])

    def seconds_to_file(self) -> float:
        began, before = self.now(), self.folder.read(ANN)
        while self.folder.read(ANN) == before:
            assert self.now() - began < 60
            self.clock.wait(max(self.worker.step(), 0.001))
        return self.now() - began


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Idle]:
    found = Idle(tmp_path / "profiles")
    yield found
    found.folder.close()


def test_while_nothing_happens_the_states_are_read_each_second_and_little_else(idle: Idle) -> None:
    idle.run(60)
    assert 55 <= idle.asked["bucket_states"] <= 65
    assert idle.asked["claim"] == 0
    assert idle.asked["next_due"] <= 13
    assert idle.asked["add_folder"] <= 13
    assert idle.asked["count_due"] <= 13


def test_what_this_process_saved_is_written_as_soon_as_it_is_due(idle: Idle) -> None:
    idle.save(1)
    idle.worker.saved(lambda: None)
    assert 0.5 <= idle.seconds_to_file() < 0.6


def test_what_another_process_saved_is_seen_within_a_second_of_being_due(idle: Idle) -> None:
    for number in range(1, 6):
        idle.clock.wait(0.37)
        idle.save(number)
        assert idle.seconds_to_file() < 1.6


def test_what_becomes_due_without_a_save_is_seen_within_seconds(idle: Idle) -> None:
    idle.save(1)
    idle.worker.saved(lambda: None)
    idle.run(10)
    place = idle.folder.place(ANN)
    place.unlink()
    idle.store.force(idle.folder.identity.id, [ANN])
    idle.run(6)
    assert place.exists()


def test_a_save_in_the_moment_of_looking_is_not_missed(idle: Idle) -> None:
    def save_once(name: str, when: str) -> None:
        if (name, when) == ("next_due", "after") and not idle.store.profiles(0, 2**63 - 1):
            idle.save(1)
            idle.worker.saved(lambda: None)

    idle.act = save_once
    idle.run(12)
    assert idle.folder.read(ANN) is not None


@pytest.mark.parametrize("call", ["next_due", "claim", "read", "settle"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_store_that_is_away_for_a_moment_makes_nothing_forgotten(idle: Idle, call: str, when: str) -> None:
    idle.save(1)
    idle.worker.saved(lambda: None)
    idle.act = fail_at(call, when)
    with pytest.raises(StoreUnavailableError):
        idle.run(10)
    idle.run(1)
    assert idle.folder.read(ANN) is not None
    assert idle.worker.idle()

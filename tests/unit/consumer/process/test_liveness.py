import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from structlog.testing import capture_logs

from consumer.daemon.worker import Worker
from consumer.process.liveness import Liveness, watched
from projections.store.protocol import StoreUnavailableError
from support.process import wait_until


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def touched(path: Path, act: Callable[[], object]) -> bool:
    """Whether the file was touched."""
    if path.exists():
        os.utime(path, (1, 1))
    act()
    return path.exists() and path.stat().st_mtime > 1


def beat(liveness: Liveness, name: str) -> None:
    """As the thread of that name."""
    thread = threading.Thread(target=liveness.heartbeat, name=name)
    thread.start()
    thread.join()


def test_the_file_is_touched_while_all_threads_go_round_and_not_while_one_is_stuck(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "alive"
    liveness = Liveness(path, clock)
    for second in range(100):
        clock.now = float(second)
        assert touched(path, lambda: beat(liveness, "flusher"))
        beat(liveness, "recovery")
    with capture_logs() as logged:
        for second in range(100, 200):
            clock.now = float(second)
            assert touched(path, lambda: beat(liveness, "recovery")) == (second < 159), second
    assert logged[0]["reason"] == "flusher"
    clock.now = 200.0
    assert touched(path, lambda: beat(liveness, "flusher"))


def test_it_is_touched_once_a_second_and_taken_away_at_the_end(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "alive"
    liveness = Liveness(path, clock)
    assert touched(path, liveness.heartbeat)
    clock.now = 0.5
    assert not touched(path, liveness.heartbeat)
    liveness.close()
    clock.now = 5.0
    assert not touched(path, liveness.heartbeat)
    liveness.close()


def test_a_worker_that_waits_for_the_store_is_alive_and_one_that_hangs_is_not(tmp_path: Path) -> None:
    clock, path, hang = Clock(), tmp_path / "alive", threading.Event()
    liveness = Liveness(path, clock)
    rounds = [0]

    def unavailable() -> float:
        rounds[0] += 1
        raise StoreUnavailableError("away")

    waiting = Worker("recovery", unavailable, liveness)
    hanging = Worker("flusher", lambda: float(hang.wait()), liveness)
    waiting.start()
    hanging.start()
    wait_until(lambda: rounds[0] > 0, "the first round", 10)
    with capture_logs() as logged:
        clock.now = 61.0
        before = rounds[0]
        wait_until(lambda: rounds[0] > before + 1, "a round at that time", 10)
        assert not touched(path, liveness.heartbeat)
    assert [entry["reason"] for entry in logged] == ["flusher"]
    for worker in (waiting, hanging):
        worker.stop()
        hang.set()
        worker.join(10)
        assert worker.error is None


def test_what_lies_there_and_is_no_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("dear")
    os.utime(tmp_path / "target", (1, 1))
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo", "target"):
        liveness = Liveness(tmp_path / name, Clock())
        if name != "target":
            liveness.heartbeat()
        liveness.close()
    assert (tmp_path / "target").read_text() == "dear"
    assert (tmp_path / "target").stat().st_mtime == 1
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "fifo").is_fifo()
    Liveness(tmp_path / "missing" / "alive", Clock()).heartbeat()


class Slow:
    """What a step asks for: whatever it is, it takes fifty seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def profiles(self, number: int) -> list[int]:
        self._clock.now += 50
        return list(range(number))

    def scan(self, number: int) -> Iterator[int]:
        for one in self.profiles(number):
            self._clock.now += 0.05
            yield one


def test_a_step_that_takes_long_and_goes_on_asking_is_alive(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "alive"
    liveness = Liveness(path, clock)
    slow = watched(Slow(clock), liveness.called)
    assert not touched(path, lambda: slow.profiles(1)), "nobody said yet that this thread matters"
    liveness.heartbeat()
    for _ in range(3):
        assert touched(path, lambda: slow.profiles(1))
    assert slow.profiles(2) == [0, 1]
    beat(liveness, "flusher")
    with capture_logs() as logged:
        assert list(slow.scan(3_000)) == list(range(3_000))
        assert not touched(path, lambda: slow.profiles(1))
    assert {entry["reason"] for entry in logged} == {"flusher"}

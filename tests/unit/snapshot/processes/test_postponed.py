"""A signal that comes while a thread is being started ends the program a moment later, and breaks no thread."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from consumer.process.signals import handle_signals
from snapshot.cli import run_log, start


class Struck(threading.Thread):
    """Is struck by a signal in `start`, where `threading` waits for the new thread."""

    def __init__(self, number: int) -> None:
        super().__init__(daemon=True)
        started = self._started  # type: ignore[attr-defined]
        started.wait, self._wait = self._strike, started.wait
        self._number = number
        self.in_start = False

    def _strike(self) -> None:
        self.in_start = True
        signal.raise_signal(self._number)
        self._wait()
        self.in_start = False


def begin(thread: threading.Thread) -> None:
    thread.start()
    threading.Event().wait(30)


@pytest.fixture
def kept() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


Handler = Callable[[int, FrameType | None], Any]


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("handler", "number", "raised"),
    [
        (run_log._terminate, signal.SIGTERM, SystemExit),  # noqa: SLF001 - the handlers
        (start._interrupt, signal.SIGINT, KeyboardInterrupt),  # noqa: SLF001
    ],
)
def test_a_run_ends_once_the_thread_was_started(
    handler: Handler, number: signal.Signals, raised: type[BaseException]
) -> None:
    signal.signal(number, handler)
    thread = Struck(number)
    with pytest.raises(raised):
        begin(thread)
    assert not thread.in_start
    thread.join()


@pytest.mark.usefixtures("kept")
def test_a_daemon_does_too_and_takes_it_for_one_signal() -> None:
    ended: list[int] = []
    with handle_signals(timeout=0.3, end=ended.append):
        thread = Struck(signal.SIGTERM)
        with pytest.raises(SystemExit):
            begin(thread)
        assert not thread.in_start
        assert ended == []  # nobody signalled twice
    thread.join()


@pytest.mark.usefixtures("kept")
def test_elsewhere_it_ends_at_once() -> None:
    signal.signal(signal.SIGTERM, run_log._terminate)  # noqa: SLF001 - the handler
    with pytest.raises(SystemExit, match="143"):
        os.kill(os.getpid(), signal.SIGTERM)

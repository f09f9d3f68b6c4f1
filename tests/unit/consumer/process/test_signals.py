"""What ends a process in order: also a terminal that is closed, unless it was started to outlive it."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from consumer.process import signals as module
from consumer.process.signals import handle_signals


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """One that was signalled ignores further signals after its block."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_is_asked_to_stop(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_DFL)  # the tests may run under nohup
    stopped = threading.Event()
    with handle_signals(end=lambda _: pytest.fail("it was given no time")) as signals:
        signals.call(stopped.set)
        os.kill(os.getpid(), number)
        assert stopped.wait(10)


def test_under_nohup_a_closed_terminal_is_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stopped = threading.Event()
        with handle_signals(end=lambda _: pytest.fail("it was given no time")) as signals:
            signals.call(stopped.set)
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert not stopped.wait(0.2)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_twice_within_a_moment_is_one(
    second: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOMENT", 1e9)
    stopped = threading.Event()
    (alive := tmp_path / "alive").touch()
    ended: list[int] = []
    with handle_signals(alive, timeout=60, end=ended.append) as signals:
        signals.call(stopped.set)
        os.kill(os.getpid(), signal.SIGINT)
        assert stopped.wait(10)
        os.kill(os.getpid(), second)
    os.kill(os.getpid(), second)  # nothing is left to do but to end
    assert ended == []
    assert alive.exists(), "whoever ends in order removes it himself"


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_later_one_ends_it_at_once_with_a_line(
    second: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOMENT", 0.0)
    stopped, ended = threading.Event(), threading.Event()
    codes: list[int] = []
    (alive := tmp_path / "alive").touch()

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    with capture_logs() as logged, handle_signals(alive, timeout=60, end=end) as signals:
        signals.call(stopped.set)
        os.kill(os.getpid(), signal.SIGINT)
        assert stopped.wait(10)
        os.kill(os.getpid(), second)
        assert ended.wait(10)
    assert codes == [128 + second]
    assert [(line["event"].split(",")[0], line["signal"]) for line in logged] == [("signalled again", second.name)]
    assert not alive.exists()


def test_the_end_that_a_signal_begins_before_anything_runs_is_not_interrupted() -> None:
    steps = []

    def open_something() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append("closed")

    with handle_signals(end=lambda _: pytest.fail("it was given no time")), pytest.raises(SystemExit, match="130"):
        open_something()
    assert steps == ["closed"]

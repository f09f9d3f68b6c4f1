"""What ends a process in order: also a terminal that is closed, unless it was started to outlive it."""

import os
import signal
import threading

import pytest

from consumer.process.signals import handle_signals


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

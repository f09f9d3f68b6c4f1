"""Shutdown on SIGTERM, Ctrl-C and a closed terminal: orderly, within a few seconds whatever the process is waiting for.

The process may be killed at any time without harm: so when the orderly shutdown takes too long (a server that accepts
connections and never answers, a disk that hangs), or who asked for it asks again, the process just ends. People press
Ctrl-C twice, and supervisors send SIGTERM and SIGHUP together: within a moment that is one signal.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import structlog

from consumer.process import alive_files
from projections.store.redis import embedded
from snapshot.processes.interrupts import MOMENT, postponed

log = structlog.get_logger()

TIMEOUT = 4.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class SignalHandler:
    """What a signal does: it calls what was given to `call`; before that, it ends the program where it stands."""

    def __init__(self, alive: Path | None, timeout: float, end: Callable[[int], object]) -> None:
        self._alive = alive
        self._timeout = timeout
        self._end = end
        self._stop: Callable[[], None] | None = None
        self.signalled = False
        # The C part of Python's handler writes here even while the main thread is in a call that does not return.
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)  # noqa: FBT003 - the socket's own signature

    def call(self, stop: Callable[[], None]) -> None:
        """From now on a signal calls this, and the main thread is expected to end soon."""
        self._stop = stop

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler, in the main thread."""
        if self._stop is None and not postponed(self.handle, number, frame):
            raise SystemExit(128 + number)

    def watch(self) -> None:
        """Wait for a signal, in a thread; then give the main thread `timeout` seconds, or until a later signal."""
        with self._reader:
            if self._next_signal():
                self.signalled = True
                if self._stop is not None:
                    self._stop()
                self._watch_end()

    def _watch_end(self) -> None:
        began = time.monotonic()
        again = None
        try:
            while again is None or time.monotonic() - began < MOMENT:
                self._reader.settimeout(max(0.001, began + self._timeout - time.monotonic()))
                again = self._next_signal()
                if again is None:
                    return
        except TimeoutError:
            log.warning("shutdown took too long, ending at once; what is not committed is read again")
            self._end_at_once(0)
        else:
            log.warning("signalled again, ending at once; what is not committed is read again", signal=again.name)
            self._end_at_once(128 + again)

    def _end_at_once(self, code: int) -> None:
        """Leave behind as little as can be done without waiting for anything."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        embedded.let_go()
        if self._alive is not None:
            alive_files.remove(self._alive)
        self._end(code)

    def _next_signal(self) -> signal.Signals | None:
        """Give the next one that is ours, None at the end of the block."""
        while data := self._reader.recv(1):
            if data[0] in _SIGNALS:
                return signal.Signals(data[0])
        return None

    def open(self) -> int:
        """Give the file descriptor for the signals' numbers."""
        return self._writer.fileno()

    def close(self) -> None:
        """End the watching thread."""
        self._writer.close()


@contextmanager
def handle_signals(
    alive: Path | None = None, timeout: float = TIMEOUT, end: Callable[[int], object] = os._exit
) -> Iterator[SignalHandler]:
    """Handle SIGTERM, SIGINT and SIGHUP in this block; the main thread's business. `end` ends the process at once.

    `alive` is its sign of life, which is removed then. After the block one that was signalled ignores further signals:
    nothing is left to do but to end.
    """
    handler = SignalHandler(alive, timeout, end)
    heeded = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # as under nohup
    handlers = {number: signal.signal(number, handler.handle) for number in heeded}
    before = signal.set_wakeup_fd(handler.open(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=handler.watch, name="signals", daemon=True)
    watcher.start()
    try:
        yield handler
    finally:
        signal.set_wakeup_fd(before)
        for number, previous in handlers.items():
            signal.signal(number, signal.SIG_IGN if handler.signalled else previous)
        handler.close()
        watcher.join()

"""Shutdown on SIGTERM, Ctrl-C and a closed terminal: orderly, within a few seconds whatever the process is waiting for.

The process may be killed at any time without harm: so when the orderly shutdown takes too long (a server that accepts
connections and never answers, a disk that hangs), the process just ends.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import structlog

from snapshot.processes.interrupts import postponed

log = structlog.get_logger()

TIMEOUT = 4.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class SignalHandler:
    """What a signal does: it calls what was given to `call`; before that, it ends the program where it stands."""

    def __init__(self, timeout: float, end: Callable[[int], object]) -> None:
        self._timeout = timeout
        self._end = end
        self._stop: Callable[[], None] | None = None
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
        """Wait for a signal, in a thread; then give the main thread `timeout` seconds, or until a second signal."""
        with self._reader:
            self._watch()

    def _watch(self) -> None:
        if not self._signalled():
            return
        if self._stop is not None:
            self._stop()
        self._reader.settimeout(self._timeout)
        try:
            ending = self._signalled()
        except TimeoutError:
            log.warning("shutdown took too long, ending at once; what is not committed is read again")
            ending = True
        if ending:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            self._end(0)

    def _signalled(self) -> bool:
        while data := self._reader.recv(1):
            if data[0] in _SIGNALS:
                return True
        return False

    def open(self) -> int:
        """Give the file descriptor for the signals' numbers."""
        return self._writer.fileno()

    def close(self) -> None:
        """End the watching thread."""
        self._writer.close()


@contextmanager
def handle_signals(timeout: float = TIMEOUT, end: Callable[[int], object] = os._exit) -> Iterator[SignalHandler]:
    """Handle SIGTERM, SIGINT and SIGHUP in this block; the main thread's business. `end` ends the process at once."""
    handler = SignalHandler(timeout, end)
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
            signal.signal(number, previous)
        handler.close()
        watcher.join()

"""Where signals must not strike: Ctrl-C in worker processes, and exceptions in the middle of starting a thread."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_STARTING = threading.Thread.start.__code__
_AGAIN_SECONDS = 0.01


def postponed(handler: Callable[[int, FrameType | None], object], number: int, frame: FrameType | None) -> bool:
    """Whether the signal came while a thread was being started: then the handler is called again in a moment.

    An exception there would break the locks that both threads use.
    """
    while frame is not None and frame.f_code is not _STARTING:
        frame = frame.f_back
    if frame is not None:
        signal.signal(signal.SIGALRM, lambda _number, now: handler(number, now))
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
    return frame is not None


@contextmanager
def blocked_in_children() -> Iterator[None]:
    """Start worker processes in this block: they inherit that SIGINT is blocked, before they import or run anything."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

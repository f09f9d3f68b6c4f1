"""Where signals must not strike: Ctrl-C in worker processes, and exceptions in the middle of starting a thread.

Nor in the end that another signal has just begun: people press Ctrl-C twice, and supervisors send two signals together.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_STARTING = threading.Thread.start.__code__
_AGAIN_SECONDS = 0.01
MOMENT = 1.0
"""Seconds within which several signals are one."""
_raised_at = -math.inf


def postponed(handler: Callable[[int, FrameType | None], object], number: int, frame: FrameType | None) -> bool:
    """Whether the handler is not to raise now: something else was raised within the last second (`MOMENT`).

    Or the signal came while a thread was being started: then the handler is called again in a moment. An exception
    there would break the locks that both threads use.
    """
    global _raised_at  # noqa: PLW0603 - signals are the process'
    if time.monotonic() - _raised_at < MOMENT:
        return True
    while frame is not None and frame.f_code is not _STARTING:
        frame = frame.f_back
    if frame is not None:
        signal.signal(signal.SIGALRM, lambda _number, now: handler(number, now))
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
        return True
    _raised_at = time.monotonic()
    return False


def note_lost() -> None:
    """What was raised last had no effect: the next signal is to raise again, however soon."""
    global _raised_at  # noqa: PLW0603 - as above
    _raised_at = -math.inf


@contextmanager
def blocked_in_children() -> Iterator[None]:
    """Start worker processes in this block: they inherit that SIGINT is blocked, before they import or run anything."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

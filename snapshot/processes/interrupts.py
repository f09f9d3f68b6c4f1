"""Ctrl-C and worker processes: it reaches a whole terminal, and only the parent handles it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def blocked_in_children() -> Iterator[None]:
    """Start worker processes in this block: they inherit that SIGINT is blocked, before they import or run anything."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

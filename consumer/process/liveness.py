"""The sign of life that a health check looks at: a file of this process, touched while all its threads go round.

An unreachable server is no death: threads that wait for one go round. Nor is a step that takes long: whatever a thread
asks of the store or the database is a heartbeat too. A thread that is stuck, or a process that is stopped, leaves the
file as it was. systemd's watchdog is fed in the same moment.
"""

import math
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from consumer.process import alive_files, systemd
from snapshot.runtime.throttle import ThrottledWarning

T = TypeVar("T")

_STUCK_SECONDS = 60.0
_TOUCH_SECONDS = 1.0
_ITEMS = 1_000


class Liveness:
    """Each thread that matters calls `heartbeat` under its own name. `now` is a monotonic clock in seconds."""

    def __init__(self, path: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._now = now
        self._heartbeats: dict[str, float] = {}
        self._touched_at = -_TOUCH_SECONDS
        self._stuck = ThrottledWarning("a thread is stuck; health checks fail until it goes on", now, level="error")

    def heartbeat(self) -> None:
        """Note that the calling thread goes round."""
        self._heartbeats[threading.current_thread().name] = self._now()
        self._show()

    def called(self) -> None:
        """Note that the calling thread, if it is one that matters, goes on: it has called something."""
        if threading.current_thread().name in self._heartbeats:
            self.heartbeat()

    def _show(self) -> None:
        """Touch the file, about once a second, unless a thread is stuck."""
        now = self._now()
        if now - self._touched_at < _TOUCH_SECONDS:
            return
        stuck = sorted(thread for thread, at in list(self._heartbeats.items()) if now - at >= _STUCK_SECONDS)
        if stuck:
            self._stuck.warn(", ".join(stuck))
            return
        self._stuck.resolved()
        self._touched_at = now
        systemd.notify(systemd.READY, systemd.ALIVE)
        with suppress(OSError):  # a disk that can't be written is reported by the flusher
            _touch(self._path)

    def close(self) -> None:
        """Take the file away, for good."""
        self._touched_at = math.inf
        systemd.notify(systemd.STOPPING)
        alive_files.remove(self._path)


def _touch(path: Path) -> None:
    """What is no regular file, or a link, is left alone."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = os.open(path, flags, 0o640)
    try:
        if stat.S_ISREG(os.fstat(file).st_mode):
            os.utime(file)
    finally:
        os.close(file)


class _Watched:
    def __init__(self, inner: object, called: Callable[[], object]) -> None:
        self._inner = inner
        self._called = called

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the other has
        found = getattr(self._inner, name)
        return partial(self._call, found) if callable(found) else found

    def _call(self, operation: Callable[..., Any], *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as it is
        answer = operation(*arguments, **options)
        self._called()
        return calling(self._called, answer) if isinstance(answer, Iterator) else answer


def calling(called: Callable[[], object], items: Iterable[T]) -> Iterator[T]:
    """Give the items on, and call `called` after each thousand."""
    for number, item in enumerate(items, 1):
        if not number % _ITEMS:
            called()
        yield item


def watched(inner: T, called: Callable[[], object]) -> T:
    """Give what hands every call on, and calls `called` after each, and at times while its answer is iterated over."""
    return cast("T", _Watched(inner, called))

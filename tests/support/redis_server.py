"""A real Redis (or Valkey) for tests, on a unix socket and a loopback port."""

from pathlib import Path

import redis

from projections.store.redis.embedded import server_binary
from support.process import Process, free_port


class RedisServer:
    """A server in `folder` that a test may stop, kill and start again on the same data."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.dir = folder
        self.port = free_port()
        self.url = f"unix://{folder / 'r.sock'}"
        self.tcp_url = f"redis://127.0.0.1:{self.port}/0"
        self._options = options
        self._process: Process | None = None
        self.start()

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is stopped"
        return self._process.pid

    def start(self) -> None:
        if self._process is not None and self._process.running:
            return
        (self.dir / "r.sock").unlink(missing_ok=True)
        self._process = Process(self._command(), self.dir / "redis.log", cwd=self.dir)
        self._process.wait_ready(self._answers, "redis-server")

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def empty(self) -> None:
        """Start it if need be, undo what a test set by CONFIG or ACL, and remove all data."""
        self.start()
        with redis.Redis.from_url(self.url) as client:
            client.config_set("maxmemory", 0)
            client.config_set("maxmemory-policy", "noeviction")
            client.flushall()
            client.script_flush()

    def _command(self) -> list[str | Path]:
        fixed = {
            "dir": str(self.dir),
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": "r.sock",
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        arguments = [part for name, value in fixed.items() for part in (f"--{name}", value)]
        return [server_binary(), *arguments, *self._options]

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.AuthenticationError:
            return True
        except (redis.ConnectionError, redis.BusyLoadingError):
            return False

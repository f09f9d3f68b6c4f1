"""The server: one listening socket, uvicorn on it, until it is stopped."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from consumer.web.live.live import Live
from projections.errors import OperatorError

_ENDING_SECONDS = 2


class PageServer(uvicorn.Server):
    """A server whose signals are handled by the command, and whose streams end when it is stopped."""

    def __init__(self, app: ASGIApp, live: Live) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=_ENDING_SECONDS,
                timeout_keep_alive=5,
                ws="none",
            )
        )
        self._live = live

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield

    def stop(self) -> None:
        """End soon; may be called by any thread."""
        self._live.feed.close()
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """Listen on this address. Raises OperatorError where that is not possible."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise OperatorError(
            f"--host {host} (SNAPSHOT_WEB_HOST) can't be resolved: write an address of this machine, such as 127.0.0.1"
        ) from error
    try:
        return socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        raise OperatorError(
            f"can't listen on {host} port {port} ({os.strerror(error.errno or 0)}): "
            "choose others with --host and --port (SNAPSHOT_WEB_HOST, SNAPSHOT_WEB_PORT)"
        ) from error

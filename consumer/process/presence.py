"""What a process says of itself in the store, for `snapshot-admin status`: who it is, what it did, what is in its way.

It says so every few seconds as long as its loop goes round, and takes it back when it ends. Of a process that was
killed it stays for an hour, so that it is missed.
"""

import importlib.metadata
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice

import msgspec

from projections.store.protocol import Store, StoreUnavailableError

SECONDS = 5.0
"""How often a process says it; one that did not for several times as long is stuck, or gone."""
_KEPT_SECONDS = 3_600.0
_NAMED = 20


class Activity(msgspec.Struct, kw_only=True):
    """What a process did since its start, and what is in its way.

    `failed` are profiles that could not be flushed (`user:slug`), `blocked` what the deletion guard blocks, by who
    asked it.
    """

    events: int = 0
    flushes: int = 0
    troubles: list[str] = []
    failed: dict[str, str] = {}
    failures: int = 0
    blocked: dict[str, str] = {}


class ProcessDescription(Activity, kw_only=True):
    """What a process says of itself. `since`: microseconds since 1970 by its host's clock; rates since it last did."""

    program: str
    version: str
    host: str
    pid: int
    since: int
    events_per_second: float = 0.0
    flushes_per_second: float = 0.0


class Presence:
    """Says it for one process; `activity` is asked each time. `now` is a monotonic clock in seconds."""

    def __init__(
        self, store: Store, program: str, activity: Callable[[], Activity], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._activity = activity
        self._now = now
        self._said_at: float | None = None
        self._said = Activity()
        host = socket.gethostname()
        self._name = f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
        self._identity = {
            "program": program,
            "version": importlib.metadata.version("signal-identity-snapshotter"),
            "host": host,
            "pid": os.getpid(),
            "since": time.time_ns() // 1_000,
        }

    def renew(self) -> None:
        """Say it again, if it is time; while the store can't be reached nobody could read it."""
        now, before = self._now(), self._said_at
        if before is not None and now - before < SECONDS:
            return
        activity, seconds = self._activity(), now - before if before is not None else 0.0
        rates = {
            f"{name}_per_second": round((getattr(activity, name) - getattr(self._said, name)) / seconds, 1)
            for name in ("events", "flushes")
            if seconds
        }
        self._said_at, self._said = now, activity
        with suppress(StoreUnavailableError):
            value = msgspec.json.encode(self._identity | msgspec.structs.asdict(activity) | rates)
            self._store.describe_process(self._name, value, _KEPT_SECONDS)

    def close(self) -> None:
        """Take it back."""
        with suppress(StoreUnavailableError):
            self._store.describe_process(self._name, b"", 0.0)


def first_failures(failed: Mapping[str, str]) -> dict[str, str]:
    """Name as many as fit into a small document."""
    return dict(islice(failed.items(), _NAMED))

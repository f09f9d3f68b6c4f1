"""The names of all metrics, and where they go. docs/operations/metrics.md is checked against `Counter` and `Gauge`."""

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol, get_args

import statsd
import structlog

log = structlog.get_logger()

Counter = Literal[
    "signal_glaze.snapshots_generated",
    "signal_glaze.snapshots_unchanged",
    "signal_glaze.snapshots_removed",
    "signal_glaze.announcements",
    "signal_glaze.flush_failures",
    "signal_glaze.events_applied",
    "signal_glaze.events_invalid",
    "signal_glaze.events_published",
    "signal_glaze.rows_unreadable",
    "signal_glaze.conflicts",
    "signal_glaze.losses",
    "signal_glaze.source_remade",
    "signal_glaze.drift",
    "signal_glaze.repairs",
    "signal_glaze.runs",
    "signal_glaze.run_failures",
]
Gauge = Literal[
    "signal_glaze.due",
    "signal_glaze.flush_delay",
    "signal_glaze.lag",
    "signal_glaze.lag_seconds",
    "signal_glaze.run_seconds",
    "signal_glaze.gaps",
    "signal_glaze.blocked_deletions",
    "signal_glaze.memberships_unmatched",
    "signal_glaze.sweep_round_seconds",
    "signal_glaze.highlights_stale",
]

GaugeNames = Literal["shared", "suffix", "tags"]
"""How the gauges of several processes are kept apart: not at all, by the name's last part, or by a DogStatsD tag."""

_SECONDS = 1.0
_REPEAT_SECONDS = 10.0
_RESOLVED_SECONDS = 300.0
_UNRESOLVED_SECONDS = 30.0
_CLOSE_SECONDS = 0.5


class Metrics(Protocol):
    """Takes figures; never slows or fails its caller."""

    def count(self, name: Counter, by: int = 1) -> None:
        """Add to a counter."""
        ...

    def gauge(self, name: Gauge, value: float) -> None:
        """Set a gauge."""
        ...


class NoMetrics:
    """Sends nothing."""

    def count(self, name: Counter, by: int = 1) -> None: ...

    def gauge(self, name: Gauge, value: float) -> None: ...


NO_METRICS = NoMetrics()


class StatsD:
    """Sums figures up and sends them about once a second, over UDP, from a thread of its own.

    Only that thread resolves the name and sends, so a name that is not found, or a server that is unreachable or slow,
    costs the caller nothing. That is logged once. The name is resolved again every five minutes: servers move.

    At the start, and every ten seconds, all counters are sent, be it as 0, so that one that never counted anything is
    known, to a server that was restarted, too. Gauges that no other process shares are repeated as they were last set:
    a server may then forget those of a process that is gone.
    """

    def __init__(
        self,
        host: str,
        port: int,
        connect: Callable[..., Any] = statsd.StatsClient,
        *,
        gauges: GaugeNames = "shared",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._port = port
        self._connect = connect
        self._now = now
        mine = re.sub("[^A-Za-z0-9_-]", "_", f"{socket.gethostname()}-{os.getpid()}")
        self._suffix = f".{mine}" if gauges == "suffix" else ""
        self._tags = f"|#process:{mine}" if gauges == "tags" else ""
        self._repeats_gauges = gauges != "shared"
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._gauges: dict[str, float] = {}
        self._changed: set[str] = set()
        self._repeat_at = now()
        self._client: Any = None
        self._resolve_at = 0.0
        self._warned = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="metrics", daemon=True)
        self._thread.start()

    def count(self, name: Counter, by: int = 1) -> None:
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + by

    def gauge(self, name: Gauge, value: float) -> None:
        with self._lock:
            self._gauges[name] = value
            self._changed.add(name)

    def close(self) -> None:
        """Send what is left; gives up after half a second."""
        self._stopping.set()
        self._thread.join(_CLOSE_SECONDS)
        self._warned = True

    def _work(self) -> None:
        stopped = False
        while not stopped:
            self._resolve()
            stopped = self._stopping.wait(_SECONDS)
            self._send()
        if self._client is not None:
            self._client.close()

    def _resolve(self) -> None:
        if time.monotonic() < self._resolve_at:
            return
        before = self._client
        try:
            self._client = self._connected()
        except (OSError, UnicodeError) as error:  # UnicodeError: a label of the name is too long
            self._warn(str(error))
            self._resolve_at = time.monotonic() + _UNRESOLVED_SECONDS
            return
        self._resolve_at = time.monotonic() + _RESOLVED_SECONDS
        if before is not None:
            before.close()

    def _connected(self) -> Any:  # noqa: ANN401 - the library has no types
        try:
            return self._connect(self._host, self._port)
        except OSError:
            return self._connect(self._host, self._port, ipv6=True)

    def _send(self) -> None:
        if self._client is None:
            return  # kept for later: sums need no more memory
        repeat = self._now() >= self._repeat_at
        if repeat:
            self._repeat_at = self._now() + _REPEAT_SECONDS
        with self._lock:
            counts, self._counts = self._counts, {}
            names: Iterable[str] = self._gauges if repeat and self._repeats_gauges else self._changed
            gauges = {name: self._gauges[name] for name in names}
            self._changed.clear()
        counts = dict.fromkeys(get_args(Counter), 0) | counts if repeat else counts
        with self._client.pipeline() as pipeline:  # many figures in one packet; swallows what sending raises
            for name, by in sorted(counts.items()):
                if by or repeat:
                    pipeline.incr(name, by)
            for name, value in sorted(gauges.items()):
                pipeline._send_stat(name + self._suffix, f"{value}|g{self._tags}", 1)  # noqa: SLF001 - it knows no tags

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "no metrics are sent: the StatsD server can't be resolved; correct STATSD_HOST",
                host=self._host,
                reason=reason,
            )


@contextmanager
def statsd_metrics(host: str | None, port: int, gauges: GaugeNames = "shared") -> Iterator[Metrics]:
    """Send figures to this StatsD server while the block runs; without a host, nowhere.

    Never raises, and never waits for the server except half a second at the end.
    """
    if not host:
        yield NoMetrics()
        return
    metrics = StatsD(host, port, gauges=gauges)
    try:
        yield metrics
    finally:
        metrics.close()

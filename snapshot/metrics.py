"""The names of all metrics, and where they go. docs/operations/metrics.md is checked against `Counter` and `Gauge`."""

from typing import Literal, Protocol

Counter = Literal[
    "signal_glaze.snapshots_generated",
    "signal_glaze.snapshots_unchanged",
    "signal_glaze.snapshots_removed",
    "signal_glaze.announcements",
    "signal_glaze.flush_failures",
    "signal_glaze.events_applied",
    "signal_glaze.events_invalid",
    "signal_glaze.conflicts",
    "signal_glaze.losses",
    "signal_glaze.source_remade",
]
Gauge = Literal["signal_glaze.due", "signal_glaze.lag"]


class Metrics(Protocol):
    """Takes figures; never slows or fails its caller."""

    def count(self, name: Counter, by: int = 1) -> None:
        """Something happened so many times."""
        ...

    def gauge(self, name: Gauge, value: float) -> None:
        """Something is so much at present."""
        ...


class NoMetrics:
    """Where nobody listens."""

    def count(self, name: Counter, by: int = 1) -> None:
        """Forget it."""

    def gauge(self, name: Gauge, value: float) -> None:
        """Forget it."""

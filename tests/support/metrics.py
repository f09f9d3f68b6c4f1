"""Metrics that a test can look at."""

from collections import Counter as Counts

from snapshot.runtime.metrics import Counter, Gauge


class RecordedMetrics:
    """Keeps every figure: sums of counters, the last value of gauges."""

    def __init__(self) -> None:
        self.counts: Counts[str] = Counts()
        self.gauges: dict[str, float] = {}

    def count(self, name: Counter, by: int = 1) -> None:
        self.counts[name] += by

    def gauge(self, name: Gauge, value: float) -> None:
        self.gauges[name] = value

"""The metrics of one run of a command that ends."""

from collections.abc import Iterator
from contextlib import contextmanager

from snapshot.cli.options import MetricOptions
from snapshot.cli.run_log import RunLog
from snapshot.runtime.metrics import Counter, statsd_metrics


@contextmanager
def measured(options: MetricOptions, run: RunLog) -> Iterator[dict[Counter, int]]:
    """Send a run's figures, however it ends: those of its entry, and the counts that the block puts into the dict.

    The sender begins afterwards: its thread would forbid the fork of worker processes.
    """
    counts: dict[Counter, int] = {"signal_glaze.runs": 1, "signal_glaze.run_failures": 1}
    try:
        yield counts
        counts["signal_glaze.run_failures"] = int(run.entry.error is not None)
    finally:
        counts["signal_glaze.snapshots_generated"] = run.entry.profiles_written
        counts["signal_glaze.snapshots_unchanged"] = run.entry.unchanged
        counts["signal_glaze.snapshots_removed"] = run.entry.removed
        with statsd_metrics(options.statsd_host, options.statsd_port) as metrics:
            for name, by in counts.items():
                metrics.count(name, by)
            metrics.gauge("signal_glaze.run_seconds", run.seconds)

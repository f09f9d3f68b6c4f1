"""What the processes log: nothing, or lines of the trace."""

from collections.abc import MutableMapping
from typing import Any

import structlog
from simulation.scheduler import Scheduler


def quiet() -> None:
    """Only what should never be logged."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


def traced(scheduler: Scheduler) -> None:
    """Into the trace, beside the step in which it was said."""

    def note(_logger: object, level: str, entry: MutableMapping[str, Any]) -> str:
        facts = " ".join(f"{name}={value!r}" for name, value in entry.items() if name != "event")
        scheduler.say(f"[{level}] {entry['event']} {facts}")
        raise structlog.DropEvent

    structlog.configure(processors=[note])

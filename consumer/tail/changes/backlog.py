"""Work of many pages, done a page at a time beside polling."""

from collections import deque
from typing import Protocol

from projections.comments.events import Event

DUTY_CYCLE = 9
"""What is read whole rests this many times as long as reading it took: a tenth of the time at most."""


class Task(Protocol):
    """One such work."""

    def turn(self) -> list[Event] | None:
        """Do the next page; None at the end. Where it raises, it may be called again and goes on."""
        ...


class Tasks:
    """Tasks in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: deque[Task] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, task: Task) -> None:
        """Put it last."""
        self._waiting.append(task)

    def turn(self) -> list[Event] | None:
        """Do a page of the first task; None without any."""
        while self._waiting:
            found = self._waiting[0].turn()
            if found is not None:
                return found
            self._waiting.popleft()
        return None

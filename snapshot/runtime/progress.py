"""How far a long run is: a bar with the time left on a terminal, nothing anywhere else.

It is drawn whenever it advances: a thread that draws it would forbid the fork of worker processes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class ProgressBar(Protocol):
    """Shows phases, one after the other, and how much of each is done."""

    def phase(self, name: str, total: int | None) -> None:
        """Another phase begins; `total` is how much there is to do, None where it isn't known."""
        ...

    def advance(self, by: int = 1) -> None:
        """So much more is done."""
        ...


class NoProgress:
    """Shows nothing."""

    def phase(self, name: str, total: int | None) -> None: ...

    def advance(self, by: int = 1) -> None: ...


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def phase(self, name: str, total: int | None) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(name, total=total)
        self._progress.refresh()

    def advance(self, by: int = 1) -> None:
        if self._task is not None:
            self._progress.update(self._task, advance=by, refresh=True)


@contextmanager
def progress_bar(console: Console) -> Iterator[ProgressBar]:
    """Show a bar on this console while the block runs, where it is a terminal; it leaves nothing behind."""
    if not console.is_terminal:
        yield NoProgress()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        yield _Bar(progress)

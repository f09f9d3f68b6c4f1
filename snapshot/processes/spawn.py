"""Doing tasks one after the other, or several at a time in processes of their own."""

import gc
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack
from itertools import islice
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from projections.errors import OperatorError
from snapshot.processes.interrupts import blocked_in_children
from snapshot.runtime import logs, stdio

Context = TypeVar("Context")
Context_co = TypeVar("Context_co", covariant=True)
Item = TypeVar("Item")
Result = TypeVar("Result")
ContextFactory = Callable[[], AbstractContextManager[Context]]
"""Opens what tasks need; picklable where processes are to call it."""

_WAITING = 2
"""Tasks that wait for each process, so that none idles and few results are kept."""


class Pool(Protocol[Context_co]):
    """Does tasks, `workers` of them at a time."""

    workers: int

    def map(self, task: Callable[[Context_co, Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Do a task for each item; the results in the order in which they are done."""
        ...


class Inline(Generic[Context]):
    """One after the other, in this process."""

    workers = 1

    def __init__(self, context: Context) -> None:
        self._context = context

    def map(self, task: Callable[[Context, Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        return (task(self._context, item) for item in items)


class Processes(Generic[Context]):
    """Several at a time. Processes are spawned: connections and threads don't survive a fork."""

    def __init__(self, open_context: ContextFactory[Context], workers: int) -> None:
        self.workers = workers
        self._executor = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(open_context,)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def map(self, task: Callable[[Context, Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Raises OperatorError where a process was killed."""
        left = iter(items)
        running: set[Future[Result]] = set()
        try:
            while True:
                for item in islice(left, self.workers * _WAITING - len(running)):
                    with blocked_in_children():  # the first ones start the processes
                        running.add(self._executor.submit(_do, task, item))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool as error:
            raise OperatorError(
                "a worker process was killed, perhaps because memory ran out; run again with fewer --workers"
            ) from error


def raise_gc_thresholds(*, lasting: bool = False) -> None:
    """Collect cyclic garbage seldom: millions of objects are made with hardly a cycle; by default it takes a fifth.

    A `lasting` process collects oftener, since what an outage leaves behind has to go some time.
    """
    gc.freeze()
    gc.set_threshold(*((50_000, 20, 10) if lasting else (200_000, 50, 100)))


_resources = ExitStack()
_context: list[Any] = []


def _begin(open_context: ContextFactory[Any]) -> None:
    """Begin a worker; a parent that was killed ends its workers."""
    stdio.prepare()
    logs.configure_from(os.environ, sys.stderr)  # unconfigured, it would write into the report
    threading.Thread(target=_end_with_parent, daemon=True).start()
    raise_gc_thresholds()
    _context.append(_resources.enter_context(open_context()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(task: Callable[[Any, Any], Result], item: Any) -> Result:  # noqa: ANN401 - whatever the task takes
    return task(_context[0], item)

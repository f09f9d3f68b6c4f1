"""The same work on many items, in several processes that share what was read before they were forked."""

import ctypes
import gc
import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from projections.errors import OperatorError
from snapshot.processes import sizing
from snapshot.processes.interrupts import blocked_in_children

Item = TypeVar("Item")
Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def workers(asked: int | None, useful: int, members: int) -> int:
    """How many processes to use: those asked for, else what fits; never more than are useful.

    One where this process can't be forked safely: it has other threads, or the system is not Linux. Not `spawn`: that
    runs the main program again, which under WhiteBalloon's command line is another's.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return 1
    return max(1, min(asked or sizing.fitting(useful, members), useful))


def map_forked(work: Callable[[Item], Result], items: Sequence[Item], processes: int) -> Iterator[Result]:
    """Do the work on every item, results in order. What it raises is raised here, and the rest is not done.

    `work` is inherited by the fork, never pickled: it may hold anything but open connections. Meanwhile the garbage
    collector leaves alone what was there before: that is shared between processes, and takes time to look through.
    """
    if processes == 1:
        gc.freeze()
        try:
            yield from map(work, items)
        finally:
            gc.unfreeze()
        return
    fork = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(processes, fork, initializer=_begin, initargs=(work,))
    try:
        with blocked_in_children():
            results = pool.map(_do, items)  # which starts them all
        yield from results
    except BrokenProcessPool as error:
        raise OperatorError(
            "a worker process was killed, perhaps because memory ran out; run again with --workers 1"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_work: Callable[[Any], Any] | None = None  # a worker process' own


def _begin(work: Callable[[Any], Any]) -> None:
    global _work  # noqa: PLW0603 - what a pool's initializer is for
    _work = work
    gc.freeze()
    for number in (signal.SIGTERM, signal.SIGHUP):  # the parent's handlers write its log line; nohup's are kept
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    # Waiting for work, a process would outlive a parent that was killed: its siblings hold the other end of the pipe.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _do(item: Any) -> Any:  # noqa: ANN401 - whatever the work takes and gives
    assert _work is not None  # noqa: S101 - set by `_begin`
    return _work(item)

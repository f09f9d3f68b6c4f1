"""Worker processes never see Ctrl-C, from before their first line on; the parent's own mask is put back."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from snapshot.processes.fork import map_forked
from snapshot.processes.spawn import Processes


@contextmanager
def context() -> Iterator[bool]:
    """What a worker opens: whether Ctrl-C could reach it then."""
    yield signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def reachable(at_start: bool, _item: int) -> list[bool]:
    return [at_start, signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])]


def test_spawned() -> None:
    with Processes(context, 2) as pool:
        assert list(pool.map(reachable, range(3))) == [[False, False]] * 3
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_forked() -> None:
    assert list(map_forked(lambda item: reachable(False, item), range(3), 2)) == [[False, False]] * 3  # noqa: FBT003
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])

"""At the start of a process that runs all the time, a server that can't be reached is an error, or is waited for."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Annotated, TypeVar

import typer

from consumer.process import systemd
from projections.errors import DatabaseUnavailableError, UnreachableError
from projections.store.protocol import StoreUnavailableError
from snapshot.runtime.throttle import ThrottledWarning

T = TypeVar("T")
_SECONDS = 2.0

Wait = Annotated[
    bool,
    typer.Option(
        "--wait",
        envvar="SNAPSHOT_WAIT",
        help="Wait at the start for servers that can't be reached, instead of ending with exit code 2.",
    ),
]


@contextmanager
def opened(make: Callable[[], AbstractContextManager[T]], *, wait: bool) -> Iterator[T]:
    """Enter what `make` gives; with `wait`, again every two seconds as long as a server can't be reached.

    systemd takes the process for ready meanwhile: `systemctl start` returns, and its status says what is waited for.
    Raises OperatorError for all that waiting does not help.
    """
    with ExitStack() as stack:
        yield _entered(stack, make, wait=wait)


def _entered(stack: ExitStack, make: Callable[[], AbstractContextManager[T]], *, wait: bool) -> T:
    warning = ThrottledWarning("waiting for a server", time.monotonic)
    while True:
        try:
            found = stack.enter_context(make())
        except (UnreachableError, DatabaseUnavailableError, StoreUnavailableError) as error:
            if not wait:
                raise
            warning.warn(str(error))
            systemd.notify(systemd.READY, systemd.ALIVE, f"STATUS=waiting: {' '.join(str(error).split())}")
            time.sleep(_SECONDS)
        else:
            warning.resolved()
            systemd.notify("STATUS=")
            return found

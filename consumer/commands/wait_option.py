"""At the start of a process that runs all the time, a server that can't be reached is an error, or is waited for.

So are WhiteBalloon's tables in a server's database that has none of them: WhiteBalloon makes them when it first starts.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from consumer.process import systemd
from consumer.process.liveness import Liveness
from projections.errors import DatabaseUnavailableError, NotMadeYetError, UnreachableError
from projections.store.protocol import StoreUnavailableError
from snapshot.runtime.throttle import ThrottledWarning

T = TypeVar("T")
_SECONDS = 2.0

Wait = Annotated[
    bool,
    typer.Option(
        "--wait",
        envvar="SNAPSHOT_WAIT",
        help="Wait at the start for servers that can't be reached, and for WhiteBalloon's tables in one, "
        "instead of ending with exit code 2.",
    ),
]


@contextmanager
def opened(make: Callable[[], AbstractContextManager[T]], *, wait: bool, alive: Path) -> Iterator[T]:
    """Enter what `make` gives; with `wait`, again every two seconds as long as a server can't be reached.

    Waiting is no death: the sign of life, in the file `alive`, goes on. systemd takes the process for ready meanwhile:
    `systemctl start` returns, and its status says what is waited for.
    Raises OperatorError for all that waiting does not help.
    """
    waiting = Liveness(alive)
    with ExitStack() as stack:
        try:
            found = _entered(stack, make, waiting, wait=wait)
        except BaseException:
            if wait:
                waiting.close()
            raise
        yield found


def _entered(stack: ExitStack, make: Callable[[], AbstractContextManager[T]], waiting: Liveness, *, wait: bool) -> T:
    warning = ThrottledWarning("waiting for a server", time.monotonic)
    while True:
        try:
            found = stack.enter_context(make())
        except (UnreachableError, NotMadeYetError, DatabaseUnavailableError, StoreUnavailableError) as error:
            if not wait:
                raise
            warning.warn(str(error))
            systemd.notify(systemd.READY, systemd.ALIVE, f"STATUS=waiting: {' '.join(str(error).split())}")
            waiting.heartbeat()
            time.sleep(_SECONDS)
        else:
            warning.resolved()
            systemd.notify("STATUS=")
            return found

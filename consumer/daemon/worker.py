"""Threads beside the consumer's loop: each repeats one step until it is stopped."""

import threading
from collections.abc import Callable

import structlog

from consumer.process.liveness import Liveness
from projections.store.protocol import StoreUnavailableError

log = structlog.get_logger()


class Worker(threading.Thread):
    """Calls `step`, which gives the seconds until the next call, unless `wake` comes before.

    While the store is unreachable it waits and retries. Any other error ends the worker and is kept in `error`, for the
    daemon to end with it: it never runs without one of its threads.
    """

    def __init__(self, name: str, step: Callable[[], float], liveness: Liveness) -> None:
        super().__init__(name=name, daemon=True)
        self._step = step
        self._liveness = liveness
        self._stopping = False
        self._woken = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        """Repeat until `stop`."""
        while not self._stopping:
            self._woken.clear()
            self._liveness.heartbeat()
            try:
                seconds = self._step()
            except StoreUnavailableError:
                seconds = 0.5
            except BaseException as error:  # noqa: BLE001 - handed to the daemon, which raises it
                self.error = error
                return
            if seconds > 0:
                self._woken.wait(seconds)

    def wake(self) -> None:
        """Have the next step done now."""
        self._woken.set()

    def stop(self) -> None:
        """End after the present step; `join` waits for it."""
        self._stopping = True
        self._woken.set()

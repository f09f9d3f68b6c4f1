"""The store as the page uses it: opened once, and again after it was unreachable."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import NamedTuple

from projections.errors import DatabaseUnavailableError, OperatorError
from projections.store.protocol import Store, StoreUnavailableError
from snapshot.cli.options import DatabaseOptions
from snapshot.cli.read_only import PlaceOptions
from snapshot.kafka.settings import KafkaSettings

UNREACHABLE = (OperatorError, StoreUnavailableError, DatabaseUnavailableError)
"""What an operator fixes, or what passes by itself; its text says which."""
_FIRST_SECONDS = 5.0


class Sources(NamedTuple):
    """Where everything is that the page shows."""

    database: DatabaseOptions
    place: PlaceOptions
    kafka: KafkaSettings | None


class StoreConnection:
    """One thread opens the store and closes it when it is lost; all others only use it."""

    def __init__(self, open_store: Callable[[], AbstractContextManager[Store]]) -> None:
        self._open_store = open_store
        self._stack = ExitStack()
        self._store: Store | None = None
        self._tried = threading.Event()
        self._reason = "the store is still being opened; try again"

    def get(self) -> Store:
        """Give the open store. Raises StoreUnavailableError where it is not, with the reason."""
        self._tried.wait(_FIRST_SECONDS)
        if (store := self._store) is None:
            raise StoreUnavailableError(self._reason)
        return store

    def ensure(self) -> Store:
        """Open the store where it is not. Raises OperatorError or StoreUnavailableError."""
        try:
            if self._store is None:
                self._store = self._stack.enter_context(self._open_store())
        except (OperatorError, StoreUnavailableError) as error:
            self._reason = str(error)
            raise
        finally:
            self._tried.set()
        return self._store

    def lose(self, reason: str) -> None:
        """Close the store; the next `ensure` opens it, and restarts a private Redis that died."""
        self._reason, self._store = reason, None
        self._stack.close()

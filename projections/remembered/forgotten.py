"""Users who were forgotten: nothing of them is in the store, and nothing that was read before comes into it again.

A revision floor keeps what was read before out, for ever where the user is blocked. Whoever reads the database for a
store takes blocked users for ones who are in no group, so that their rows are neither drift nor events.
"""

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Protocol

from projections.profile_key import BUCKETS, ProfileKey
from projections.store.protocol import FOREVER, Store, StoreUnavailableError

_SECONDS = 5.0


class BlockList(Protocol):
    """A place that remembers who is blocked, and outlives the store."""

    def get(self) -> frozenset[int]:
        """Their ids."""
        ...

    def put(self, users: frozenset[int]) -> None:
        """Remember these. Raises OSError."""
        ...


def remove_profiles(store: Store, keys: Collection[ProfileKey]) -> None:
    """Remove profiles whatever they hold, and make their ends due in every folder. Raises StoreUnavailableError."""
    for folder in store.folders():
        store.force(folder.id, [key for key in keys if folder.group_slug in (None, key.group_slug)])
    for key in keys:
        while not store.remove(key, store.load({key: ()})[key].version):
            pass


class BlockedAnywhere:
    """Who is blocked, by the store and by a folder; a store that was lost learns it from there.

    `read_only`: nothing is written, as in a dry run. `now` is a clock in seconds: it is looked up every few of them.
    """

    def __init__(
        self,
        store: Callable[[], Store],
        remembered: BlockList,
        *,
        read_only: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._remembered = remembered
        self._read_only = read_only
        self._now = now
        self._known: tuple[float, frozenset[int]] | None = None

    def get(self) -> frozenset[int]:
        """Their ids, as they were a few seconds ago at most. Raises StoreUnavailableError the first time."""
        known = self._known
        if known is not None and self._now() - known[0] < _SECONDS:
            return known[1]
        try:
            return self.enforce()
        except StoreUnavailableError:
            if known is None:
                raise
            self._known = self._now(), known[1]
            return known[1]

    def enforce(self) -> frozenset[int]:
        """Their ids, looked up now, with the store's floors put back. Raises StoreUnavailableError."""
        users = self._read(frozenset() if self._known is None else self._known[1])
        self._known = self._now(), users
        return users

    def _read(self, enforced: frozenset[int]) -> frozenset[int]:
        store, remembered = self._store(), self._remembered.get()
        floors = store.floors(range(BUCKETS))
        users = remembered - floors.keys() | {user for user, floor in floors.items() if floor == FOREVER}
        if not self._read_only:
            for user in users - (enforced & floors.keys()):
                store.raise_floor(user, FOREVER)
                if left := store.profiles(user, user):
                    remove_profiles(store, left)
            if users != remembered:
                with suppress(OSError):  # what writes files there says so
                    self._remembered.put(users)
        return users

"""Users who were forgotten: nothing of them is in the store, and nothing that was read before comes into it again.

A revision floor keeps what was read before out, for ever where the user is blocked. Whoever reads the database for a
store takes blocked users for ones who are in no group, so that their rows are neither drift nor events.
"""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Protocol

import structlog

from projections.profile_key import BUCKETS, ProfileKey
from projections.store.protocol import Store, StoreUnavailableError, has_ended, is_block

log = structlog.get_logger()

_SECONDS = 5.0


class BlockList(Protocol):
    """A place that remembers who is blocked, and outlives the store."""

    def blocks(self) -> dict[int, int]:
        """Their revision floors, which say when they were blocked, by user id."""
        ...

    def put(self, blocks: Mapping[int, int]) -> None:
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
    """Who is blocked, by the store, by a folder, and by what this process knew; a store that was lost learns it again.

    A block is over where the store has a floor that is later: its end leaves one, or forgetting the person once more
    where no folder remembers the block. A store that rolled back to before the block has an earlier one, or none.

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
        self._known: dict[int, int] = {}
        self._looked_at: float | None = None

    def get(self) -> frozenset[int]:
        """Their ids, as they were a few seconds ago at most. Raises StoreUnavailableError the first time."""
        if self._looked_at is None or self._now() - self._looked_at >= _SECONDS:
            try:
                self.enforce()
            except StoreUnavailableError:
                if self._looked_at is None:
                    raise
                self._looked_at = self._now()
        return frozenset(self._known)

    def enforce(self) -> frozenset[int]:
        """Their ids, looked up now, with the store's floors put back. Raises StoreUnavailableError."""
        store, remembered = self._store(), self._remembered.blocks()
        floors = store.floors(range(BUCKETS))
        blocks = {user: floor for user, floor in floors.items() if is_block(floor)}
        noted = {user: max(remembered.get(user, 0), self._known.get(user, 0)) for user in remembered | self._known}
        lost = {
            user: floor
            for user, floor in noted.items()
            if user not in blocks and not has_ended(floor, floors.get(user, 0))
        }
        if not self._read_only:
            self._put_back(store, lost, blocks.keys() - self._known.keys())
            if blocks | lost != remembered:
                with suppress(OSError):  # what writes files there says so
                    self._remembered.put(blocks | lost)
        self._known, self._looked_at = blocks | lost, self._now()
        return frozenset(self._known)

    def _put_back(self, store: Store, lost: Mapping[int, int], new: Collection[int]) -> None:
        if lost:
            log.warning("the store did not know that some users are blocked; blocking them again", users=len(lost))
        for user, floor in lost.items():
            store.raise_floor(user, floor)
        for user in (*lost, *new):
            if left := store.profiles(user, user):
                remove_profiles(store, left)

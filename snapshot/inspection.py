"""A slow pass in the background that compares the files with what was settled: somebody may have touched them."""

import structlog

from projections.profile import ProfileKey
from projections.store import Store
from snapshot.folder import ProfileFolder
from snapshot.schema import parse_file

log = structlog.get_logger()

_USERS_A_STEP = 32
_HIGHEST = 2**63 - 1


class Inspection:
    """Goes round all profiles of a folder's scope, a few at each step; what differs is made due, and flushed anew."""

    def __init__(self, store: Store, folder: ProfileFolder) -> None:
        self._store = store
        self._folder = folder
        self._waiting: list[ProfileKey] = []

    def step(self) -> list[ProfileKey]:
        """Compare the next few files; the profiles whose file was missing, changed, or should not be there."""
        if not self._waiting:
            slug = self._folder.identity.group_slug
            everybody = self._store.profiles(0, _HIGHEST)
            self._waiting = [key for key in reversed(everybody) if slug in (None, key.group_slug)]
        keys = [self._waiting.pop() for _ in range(min(_USERS_A_STEP, len(self._waiting)))]
        settled = self._store.settled(self._folder.identity.id, keys)
        wrong = [
            key for key, known in zip(keys, settled, strict=True) if known is not None and known != self._lies(key)
        ]
        if wrong:
            first = str(self._folder.place(wrong[0]))
            log.warning("files are not as they were written; writing them again", files=len(wrong), first=first)
            self._store.recheck(self._folder.identity.id, wrong)
        return wrong

    def _lies(self, key: ProfileKey) -> str:
        """The hash of the snapshot that lies there; empty where there is no file."""
        content = self._folder.read(key)
        try:
            return "" if content is None else parse_file(content).snapshot_hash
        except ValueError:
            return "damaged"

"""A slow pass in the background that compares the files with what was settled: somebody may have touched them.

After a bucket's epoch was raised all its files are looked at, and at once. Where the store fell back, a file may be
newer than what the store says was settled, and downstream may have been told so: such a profile is written and
announced again, whatever it is by then. Which epochs were looked at is kept in the folder, so a crash leaves none out.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import msgspec
import structlog

from projections.decoding import JsonDecoder
from projections.profile_key import HIGHEST_ID, ProfileKey, bucket_of
from projections.store.protocol import BucketState, Store
from projections.watermark import TAIL, holds, observe
from snapshot.files.atomic import replace
from snapshot.files.check import BadFile
from snapshot.files.folder import DAMAGED, NO_FILE, ProfileFolder, differs
from snapshot.files.orphans import orphan_files, removable
from snapshot.runtime.throttle import ThrottledWarning

log = structlog.get_logger()

EPOCHS = ".signal-profiles-epochs"
"""The file in the folder that says for each bucket in which epoch its files were compared with the store."""

_PROFILES_A_STEP = 32
_USERS_AT_FIRST = 1024
_FEW, _MANY = 500, 5_000
_CONFIRMED_SECONDS = 2.0


class Mismatch(NamedTuple):
    """A file that is not what was settled; it may just be on its way there, from another process."""

    key: ProfileKey
    settled: str
    hash_on_disk: str
    seen_at: float


class Scrub:
    """Goes round all profiles of a folder's scope, a few at each step; what differs is made due, and flushed anew.

    `now` is a clock in seconds. Used by the flusher's thread.
    """

    def __init__(self, store: Store, folder: ProfileFolder, now: Callable[[], float] = time.monotonic) -> None:
        self.trouble: str | None = None
        """Why the folder could not be looked at the last time, for the operator."""
        self._store = store
        self._folder = folder
        self._now = now
        self._id = folder.identity.id
        self._waiting: deque[ProfileKey] = deque()
        self._next_user, self._users = 0, _USERS_AT_FIRST
        self._suspects: list[Mismatch] = []
        self._known: dict[int, str] | None = None
        self._compared_epochs: dict[int, str] = {}
        self._astray = False
        """Whether files were seen that the store knows nothing of, perhaps because it does not have all yet."""
        self._warning = ThrottledWarning("the folder can't be looked at; trying again", now, level="error")

    def step(self) -> list[ProfileKey]:
        """Look at the buckets that are new or in a new epoch, then at a few files; the profiles that were made due.

        Raises OperatorError where the folder has become somebody else's.
        """
        try:
            self._folder.keep()
            found = self._epochs(self._store.bucket_states()) + self._round()
        except OSError as error:
            reason = error.strerror or str(error)
            self.trouble = (
                f"the folder {self._folder.path} can't be used ({reason}); mend that, or choose another with "
                "--output-dir or SNAPSHOT_STORAGE_DIR"
            )
            self._warning.warn(reason, folder=str(self._folder.path))
            return []
        self.trouble = None
        self._warning.resolved()
        return found

    def pending_buckets(self) -> list[int]:
        """The buckets whose files have to be looked at, because they are in a new epoch."""
        states = self._store.bucket_states()
        pending_buckets = self._behind(states)
        waiting = [bucket for bucket in pending_buckets if self._compared_epochs.get(bucket) == _epoch(states[bucket])]
        return pending_buckets if waiting != pending_buckets or complete(self._store, states, pending_buckets) else []

    # -------------------------------------------------------------------------------------------------------- epochs

    def _behind(self, states: Iterable[BucketState | None]) -> list[int]:
        if self._known is None:
            self._known = self._read()
        return [
            bucket
            for bucket, state in enumerate(states)
            if state is not None and self._known.get(bucket) != _epoch(state)
        ]

    def _epochs(self, states: list[BucketState | None]) -> list[ProfileKey]:
        """Compare the files of new epochs at once; those that are nobody's are known once the history is all there."""
        pending_buckets = self._behind(states)
        found = self._new_epochs(
            {one for one in pending_buckets if self._compared_epochs.get(one) != _epoch(states[one])}, states
        )
        if pending_buckets and (not self._astray or complete(self._store, states, pending_buckets)):
            found += self._strays(pending_buckets) if self._astray else []
            self._note({bucket: _epoch(state) for bucket, state in enumerate(states) if state is not None})
            self._astray = False
        return found

    def _new_epochs(self, buckets: set[int], states: list[BucketState | None]) -> list[ProfileKey]:
        if not buckets:
            return []
        keys = [key for key in self._scope(0, HIGHEST_ID) if bucket_of(key.user_id) in buckets]
        # Those of which nothing is noted too: while files of nobody wait for the tail, nothing is.
        raised = {bucket for bucket in buckets if bucket in (self._known or {}) or _raised(states[bucket])}
        found = self._mend(self._compared(keys), raised)
        self._astray = self._astray or bool(self._orphans(buckets))
        self._compared_epochs.update({bucket: _epoch(states[bucket]) for bucket in buckets})
        return found

    def _orphans(self, buckets: Collection[int]) -> list[BadFile]:
        return orphan_files(self._store, self._folder, frozenset(), lambda user: bucket_of(user) in buckets)

    def _strays(self, buckets: list[int]) -> list[ProfileKey]:
        orphans = self._orphans(buckets)
        if not orphans or not removable(self._folder, orphans):
            return []
        found = [one.key for one in orphans]
        self._say("files are nobody's any more; removing them", found)
        self._store.force(self._id, found)
        return found

    def _mend(self, wrong: list[Mismatch], raised: Collection[int] = ()) -> list[ProfileKey]:
        """Have files written again, and announced where downstream may have been told what lies there.

        In a bucket whose epoch was raised that may be the profile's end, too.
        """
        told = [
            one.key
            for one in wrong
            if one.hash_on_disk not in (NO_FILE, DAMAGED)
            or (one.hash_on_disk == NO_FILE and bucket_of(one.key.user_id) in raised)
        ]
        if told:
            self._say("files are not as the store says; writing and announcing them again", told)
            self._store.force(self._id, told)
        touched = [one.key for one in wrong if one.key not in told]
        if touched:
            self._say("files are not as they were written; writing them again", touched)
            self._store.recheck(self._id, touched)
        return [one.key for one in wrong]

    def _note(self, known: dict[int, str]) -> None:
        replace(self._folder.path / EPOCHS, msgspec.json.encode(known) + b"\n", disk=self._folder.disk)
        self._known = known

    def _say(self, what: str, keys: list[ProfileKey]) -> None:
        log.warning(what, files=len(keys), first=str(self._folder.place(keys[0])))

    def _read(self) -> dict[int, str]:
        try:
            return JsonDecoder(dict[int, str]).decode(self._folder.disk.read(f"{self._folder.path}/{EPOCHS}"))
        except (OSError, msgspec.DecodeError):
            return {}  # then all are looked at

    def _scope(self, first_user: int, last_user: int) -> list[ProfileKey]:
        slug = self._folder.identity.group_slug
        return [key for key in self._store.profiles(first_user, last_user) if slug in (None, key.group_slug)]

    # --------------------------------------------------------------------------------------------------------- round

    def _round(self) -> list[ProfileKey]:
        """Look at the next few files, and again at those that were suspect a while ago."""
        wrong = self._mend(self._confirmed())
        if not self._waiting:
            self._waiting.extend(self._next_keys())
        keys = [self._waiting.popleft() for _ in range(min(_PROFILES_A_STEP, len(self._waiting)))]
        self._suspects += self._compared(keys)
        return wrong

    def _next_keys(self) -> list[ProfileKey]:
        """The profiles of the next users; of so many that all of them need not be in memory at once."""
        last = min(self._next_user + self._users - 1, HIGHEST_ID)
        found = self._scope(self._next_user, last)
        if len(found) < _FEW:
            self._users = min(4 * self._users, HIGHEST_ID)
        elif len(found) > _MANY:
            self._users = max(1, self._users // 4)
        self._next_user = 0 if last == HIGHEST_ID else last + 1
        return found

    def _confirmed(self) -> list[Mismatch]:
        """Those suspects that are so still."""
        ripe = [one for one in self._suspects if self._now() - one.seen_at >= _CONFIRMED_SECONDS]
        self._suspects = [one for one in self._suspects if one not in ripe]
        again = {one.key: one for one in self._compared([one.key for one in ripe])}
        return [one for one in ripe if one.key in again and again[one.key][:3] == one[:3]]

    def _compared(self, keys: list[ProfileKey]) -> list[Mismatch]:
        settled = self._store.settled(self._id, keys)
        found = [
            Mismatch(key, known, self._folder.hash_on_disk(key), self._now())
            for key, known in zip(keys, settled, strict=True)
            if known is not None
        ]
        return [one for one in found if differs(one.hash_on_disk, one.settled)]


def _epoch(state: BucketState | None) -> str:
    return "" if state is None else f"{state.instance_id}:{state.epoch}"


def _raised(state: BucketState | None) -> bool:
    return state is not None and state.epoch > 0


def complete(store: Store, states: Sequence[BucketState | None], buckets: Collection[int]) -> bool:
    """Whether these buckets hold the whole history.

    One whose epoch was raised was reconciled with the database once it heals no more. For one that was born, the tail
    in process says so. Of Kafka's topics nobody does: what they held before may have been dropped.
    """
    mine = [state for bucket in buckets if (state := states[bucket]) is not None]
    if any(state.recovery is not None for state in mine):
        return False
    initialized = [state for state in mine if not state.epoch]
    if not all(any(name.startswith(f"{TAIL}/") for name in state.positions) for state in initialized):
        return False
    if not initialized:
        return True
    seen = observe(store)
    return seen.passed(0) and all(holds(seen.positions[bucket], seen.tail.positions) for bucket in buckets if seen.tail)

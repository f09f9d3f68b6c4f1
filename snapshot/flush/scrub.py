"""A slow pass in the background that compares the files with what was settled: another program may have changed them.

After a bucket's epoch was raised all its files are compared, and at once. Where the store rolled back, a file may be
newer than what the store says was settled, and may have been announced: such a profile is written and announced again,
whatever it is by then. Once the bucket was recovered, the announcements that are kept are compared with the files as
well: a run with a folder of its own may have announced what this folder never had.
"""

import time
from collections import deque
from collections.abc import Callable, Collection
from typing import NamedTuple

import structlog

from projections.errors import OperatorError
from projections.paging import pages
from projections.profile_key import HIGHEST_ID, ProfileKey, bucket_of
from projections.store.protocol import HEAD, BucketState, Store
from snapshot.deletion_guard import CONFIRM, blocked_message, too_many
from snapshot.files.check import BadFile, readable
from snapshot.files.folder import DAMAGED, NO_FILE, ProfileFolder, differs
from snapshot.files.orphans import orphan_files, reason_to_keep, without_head
from snapshot.flush.epochs import Announced, FolderEpochs, States, complete, spell_epoch
from snapshot.flush.unannounced import UnannouncedJournal
from snapshot.runtime.throttle import ThrottledWarning

log = structlog.get_logger()

_PROFILES_A_STEP = 32
_USERS_AT_FIRST = 1024
_FEW, _MANY = 500, 5_000
_PAGE = 500
_CONFIRMED_SECONDS = 2.0
_RETRY_SECONDS = 10.0
_CONFIRM_START = "a start of this program with --prune-all"


class Mismatch(NamedTuple):
    """A file that is not what was settled; it may just be on its way there, from another process."""

    key: ProfileKey
    settled: str
    hash_on_disk: str
    seen_at: float


class Scrub:
    """Goes round all profiles of a folder's scope, a few at each step; what differs is made due, and flushed again.

    `now` is a clock in seconds. `compare_all`: whatever the folder noted, all its files are compared first. `prune_all`
    confirms so too, and the removal of orphan files that the deletion guard would block. `announced` gives the hashes
    that downstream has by the announcements that are kept (NO_FILE: it ended, None: that depends on who asks); it may
    raise OperatorError. Used by the flusher's thread.
    """

    def __init__(  # noqa: PLR0913 - its parts, and what tests replace
        self,
        store: Store,
        folder: ProfileFolder,
        now: Callable[[], float] = time.monotonic,
        *,
        compare_all: bool = False,
        prune_all: bool = False,
        announced: Callable[[], Announced] = dict,
    ) -> None:
        self.trouble: str | None = None
        """Why the folder could not be used the last time, for the operator."""
        self._store = store
        self._folder = folder
        self._now = now
        self._id = folder.identity.id
        self._round_keys: deque[ProfileKey] = deque()
        self._next_user, self._users = 0, _USERS_AT_FIRST
        self._mismatches: list[Mismatch] = []
        self._epochs = FolderEpochs(folder)
        self._compare_all = compare_all or prune_all
        self._prune_all = prune_all
        self._compared_epochs: dict[int, str] = {}
        """The epoch of each bucket whose files this process has compared, until that is noted in the folder."""
        self._orphans_seen = False
        """Whether files lie there that the store does not know, perhaps because it does not have all yet."""
        self._warning = ThrottledWarning("the folder can't be used; retrying", now, level="error")
        self._announced = announced
        self._announced_at = now()
        """When the announcements may be read again."""
        self._unread = ThrottledWarning("what is announced can't be compared with the store; retrying", now)

    def step(self, states: States | None = None) -> list[ProfileKey]:
        """Check the buckets that are new or in a new epoch, then a few files; the profiles that were made due.

        `states` of all buckets, if they were just read. Raises OperatorError where another run has made the folder its
        own.
        """
        try:
            self._folder.keep()
            states = self._store.bucket_states() if states is None else states
            found = self._check_epochs(states) + self._round(states)
        except OSError as error:
            reason = error.strerror or str(error)
            self.trouble = (
                f"the folder {self._folder.path} can't be used ({reason}); fix that, or choose another with "
                "--output-dir or SNAPSHOT_STORAGE_DIR"
            )
            self._warning.warn(reason, folder=str(self._folder.path))
            return []
        self.trouble = None
        self._warning.resolved()
        return found

    @property
    def unread(self) -> str | None:
        """Why what is announced could not be read, for the operator; it is tried again."""
        return self._unread.reason

    def pending_buckets(self) -> list[int]:
        """The buckets in a new epoch whose files are still to be compared, or whose orphan files can be removed now."""
        states = self._store.bucket_states()
        pending = self._pending(states)
        new = any(self._is_new(bucket, states) for bucket in pending)
        return pending if new or complete(states, pending) else []

    # -------------------------------------------------------------------------------------------------------- epochs

    def _check_epochs(self, states: States) -> list[ProfileKey]:
        """Compare the files of buckets in a new epoch at once; once nothing is left to wait for, note their epochs.

        Orphan files wait until the history is complete.
        """
        pending = self._pending(states)
        if not pending:
            return []
        found = self._compare_buckets([one for one in pending if self._is_new(one, states)], states)
        raised = [one for one in pending if _is_raised(states[one])]
        if (self._orphans_seen or raised) and not complete(states, pending):
            return found
        announced: Announced | None = self._read_announced() if raised else {}
        if announced is None:
            return found
        if self._orphans_seen:
            found += self._remove_orphans(pending) + self._announce_ends(pending)
        found += self._announce_again(announced, raised)
        self._epochs.record(states)
        self._compared_epochs.clear()  # the folder has them now, unless its record is removed
        self._orphans_seen = self._compare_all = False
        return found

    def _pending(self, states: States) -> list[int]:
        if self._compare_all:
            return [bucket for bucket, state in enumerate(states) if state is not None]
        return self._epochs.pending(states)

    def _is_new(self, bucket: int, states: States) -> bool:
        return self._compared_epochs.get(bucket) != spell_epoch(states[bucket])

    def _compare_buckets(self, buckets: Collection[int], states: States) -> list[ProfileKey]:
        if not buckets:
            return []
        keys = [key for key in self._scope(0, HIGHEST_ID) if bucket_of(key.user_id) in buckets]
        raised = {one for one in buckets if _is_raised(states[one])}
        found = self._repair(self._compare(keys), raised)
        self._orphans_seen = self._orphans_seen or bool(self._orphans(buckets) or self._unannounced_ends(buckets))
        self._compared_epochs.update({bucket: spell_epoch(states[bucket]) for bucket in buckets})
        return found

    def _orphans(self, buckets: Collection[int]) -> list[BadFile]:
        return orphan_files(self._store, self._folder, frozenset(), lambda user: bucket_of(user) in buckets)

    def _remove_orphans(self, buckets: Collection[int]) -> list[ProfileKey]:
        orphans = self._orphans(buckets)
        reason = None if self._prune_all else reason_to_keep(self._folder, orphans)
        if reason is not None:
            log.error(blocked_message(reason, CONFIRM), first=str(self._folder.path / orphans[0].name))
        if reason is not None or not orphans:
            return []
        found = [one.key for one in orphans]
        self._log("orphaned files; removing them", found)
        self._store.force(self._id, found)
        return found

    def _unannounced_ends(self, buckets: Collection[int]) -> list[ProfileKey]:
        """Profiles that the journal names, without a file and unknown to the store: nothing else makes them due."""
        journal = UnannouncedJournal(self._folder.path, self._folder.disk)
        noted = [key for key in journal.profiles() if bucket_of(key.user_id) in buckets]
        return [key for key in without_head(self._store, noted) if self._folder.hash_on_disk(key) == NO_FILE]

    def _announce_ends(self, buckets: Collection[int]) -> list[ProfileKey]:
        ended = self._unannounced_ends(buckets)
        if ended:
            self._log("profiles ended, which may not have been announced; announcing it", ended)
            self._store.force(self._id, ended)
        return ended

    def _read_announced(self) -> Announced | None:
        """What downstream has; None where that can't be read at present, or was read a moment ago."""
        if self._now() < self._announced_at:
            return None
        try:
            found = self._announced()
        except OperatorError as error:
            self._unread.warn(str(error))
            return None
        finally:
            self._announced_at = self._now() + _RETRY_SECONDS
        self._unread.resolved()
        return found

    def _announce_again(self, announced: Announced, buckets: Collection[int]) -> list[ProfileKey]:
        """Of these buckets, what downstream has otherwise than the folder; no ends where the deletion guard asks."""
        slug = self._folder.identity.group_slug
        asked = [key for key in announced if bucket_of(key.user_id) in buckets and slug in (None, key.group_slug)]
        ended, found = list[ProfileKey](), list[ProfileKey]()
        for page in pages(asked, _PAGE):
            on_disk = {key: self._folder.hash_on_disk(key) for key in page}
            differing = [key for key in page if on_disk[key] != announced[key]]
            loaded = self._store.load(dict.fromkeys(differing, (HEAD,)))
            heads = {key: readable(fields.get(HEAD)) for key, (_, fields) in loaded.items()}
            unknown = {key for key, head in heads.items() if head is None}
            gone = {key for key, head in heads.items() if not (head and head.count) and announced[key] != NO_FILE}
            over = {key for key in gone if on_disk[key] in (NO_FILE, DAMAGED)}  # a damaged file is no orphan of ours
            settled = zip(differing, self._store.settled(self._id, differing), strict=True)
            new = {key for key, known in settled if known is None and on_disk[key] == NO_FILE}  # due anyway
            ended += [key for key in differing if key in over]
            found += [key for key in differing if key not in unknown | over | new]  # an unknown file is an orphan
        if not self._prune_all and too_many(len(ended), len(asked)):
            log.error(blocked_message(f"{len(ended):,} of {len(asked):,} announced profiles", _CONFIRM_START))
            ended = []
        found += ended
        if found:
            self._log("announcements are not as the files; announcing them again", found)
            self._store.force(self._id, found)
        return found

    def _repair(self, mismatches: list[Mismatch], raised: Collection[int] = ()) -> list[ProfileKey]:
        """Have files written again, and announced where what lies there may have been announced.

        In a bucket whose epoch was raised that may be the profile's end, too.
        """
        announced = [
            one.key
            for one in mismatches
            if one.hash_on_disk not in (NO_FILE, DAMAGED)
            or (one.hash_on_disk == NO_FILE and bucket_of(one.key.user_id) in raised)
        ]
        if announced:
            self._log("files are not as the store says; writing and announcing them again", announced)
            self._store.force(self._id, announced)
        touched = [one.key for one in mismatches if one.key not in announced]
        if touched:
            self._log("files are not as they were written; writing them again", touched)
            self._store.recheck(self._id, touched)
        return [one.key for one in mismatches]

    def _log(self, event: str, keys: list[ProfileKey]) -> None:
        log.warning(event, files=len(keys), first=str(self._folder.place(keys[0])))

    def _scope(self, first_user: int, last_user: int) -> list[ProfileKey]:
        slug = self._folder.identity.group_slug
        return [key for key in self._store.profiles(first_user, last_user) if slug in (None, key.group_slug)]

    # --------------------------------------------------------------------------------------------------------- round

    def _round(self, states: States) -> list[ProfileKey]:
        """Compare the next few files, and once more those that differed a while ago.

        Nothing of a bucket that recovers is flushed; a later round comes by.
        """
        wrong = self._repair([one for one in self._confirmed() if complete(states, [bucket_of(one.key.user_id)])])
        if not self._round_keys:
            self._round_keys.extend(self._next_keys())
        keys = [self._round_keys.popleft() for _ in range(min(_PROFILES_A_STEP, len(self._round_keys)))]
        self._mismatches += self._compare(keys)
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
        """Those that still differ, in the same way."""
        ripe = [one for one in self._mismatches if self._now() - one.seen_at >= _CONFIRMED_SECONDS]
        self._mismatches = [one for one in self._mismatches if one not in ripe]
        again = {one.key: one for one in self._compare([one.key for one in ripe])}
        return [one for one in ripe if one.key in again and again[one.key][:3] == one[:3]]

    def _compare(self, keys: list[ProfileKey]) -> list[Mismatch]:
        settled = self._store.settled(self._id, keys)
        found = [
            Mismatch(key, known, self._folder.hash_on_disk(key), self._now())
            for key, known in zip(keys, settled, strict=True)
            if known is not None
        ]
        return [one for one in found if differs(one.hash_on_disk, one.settled)]


def _is_raised(state: BucketState | None) -> bool:
    return state is not None and state.epoch > 0

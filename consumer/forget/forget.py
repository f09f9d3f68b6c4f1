"""Forget a person, step by step. A run that was killed anywhere is completed by the next one.

1 refuse while the database has comments of theirs, unless that is forced;
2 note in the store which profiles they had, so that no later run has to find out;
3 raise the user's revision floor: from now on nothing that was read before comes into the store;
4 remove the profiles, and make their ends due in every folder;
5 wait until the tail has seen that the rows are gone: what it says of that is above the floor;
6 flush the folders that lie here: files go, and the topic gets tombstones;
7 remove what is left in files: lines, notes, temporary files; and the dead letters;
8 look whether anything is left, and say what remains where.
"""

import secrets
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from consumer.dead_letters.file import FILE_NAME as DEAD_LETTERS
from consumer.dead_letters.file import FileDeadLetters
from consumer.forget.folders import FoldersHere
from consumer.forget.kafka import TopicTraces
from consumer.forget.receipt import Clock, Receipt, ReceiptBook
from consumer.forget.traces import concerns_user, generations, holds_user, names_user
from projections.codec import UNREADABLE, is_register
from projections.comments.register import has_row, unpack
from projections.database.protocol import PAGE, Database
from projections.decoding import DecodingError, JsonDecoder
from projections.errors import OperatorError
from projections.profile_key import ProfileKey, bucket_of
from projections.projection import Projection
from projections.remembered.forgotten import remove_profiles
from projections.store.protocol import Store, block_at, has_ended, is_block, time_of_block
from projections.watermark import covered, observe, tail_is_running, time_of_reading
from snapshot.announce.announcement import Announcer
from snapshot.announce.file import remove_user
from snapshot.cli.options import FileOptions
from snapshot.cli.resources import ANNOUNCEMENTS
from snapshot.cli.run_log import FILE_NAME as RUN_LOG
from snapshot.files.jsonl import remove_lines

_DOCUMENT = "forget"
"""In the store: the profiles of those whose forgetting has begun and not ended; and the lease to write it."""
_LEASE_SECONDS = 10.0
_WAIT_SECONDS = 60.0
_ELSEWHERE_SECONDS = 5.0
_STEP_SECONDS = 0.2


class _Noted(msgspec.Struct):
    """The groups of a user's profiles; `due`: in every folder their ends were made due."""

    slugs: set[str] = set()
    due: bool = False


_decode = JsonDecoder(dict[int, _Noted]).decode


class Surroundings(NamedTuple):
    """What forgetting works on."""

    projection: Projection
    database: Database
    files: FileOptions
    announcer: Announcer
    topics: TopicTraces | None
    redis: str


class _Registers(NamedTuple):
    """What a user's profiles hold: how many comments, the highest revision, and whether any has a row."""

    comments: int
    revision: int
    rows: bool


class Forgetting:
    """One run about one user. `clock` gives the time in UTC; `now` and `sleep` are in seconds.

    Everything raises StoreUnavailableError and DatabaseUnavailableError: then nothing is undone, run it again.
    """

    def __init__(
        self,
        user_id: int,
        around: Surroundings,
        clock: Clock,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._user = user_id
        self._around = around
        self._store: Store = around.projection.store
        self._clock = clock
        self._now = now
        self._sleep = sleep
        self._block = block_at(0)
        """The floor that blocks the user, once the first was set."""

    def run(self, *, force: bool) -> Receipt:
        """Do all steps. Raises OperatorError where the database still has comments, and `force` is not given."""
        self._refuse(force=force)  # step 1
        with ExitStack() as stack:
            here = FoldersHere(self._store, self._around.files, self._user, stack)
            blocked = force or self._is_blocked(here.blocked())
            book = self._book = ReceiptBook(self._user, self._clock, blocked=blocked)
            noted = self._unfinished().get(self._user, _Noted())
            before = {ProfileKey(self._user, slug) for slug in noted.slugs}
            found = self._profiles() | here.keys()
            if self._around.topics is not None:
                found |= self._around.topics.announced(self._user, book)
            self._note(found | before, due=noted.due and not found)  # step 2
            waits = self._remove() or (bool(before) and not noted.due)  # steps 3 and 4
            if book.receipt.blocked:
                here.block(self._block, book)
            elif waits:
                self._wait_for_tail(found | before)  # step 5
            found |= self._profiles() if noted.due else self._profiles() | before
            found -= self._alive()
            remove_profiles(self._store, found)
            here.flush(found, self._around.projection, self._around.announcer, book, self._pause())  # step 6
            self._announce(found, here)
            keys = (found | before) - self._alive()
            here.clean(keys, book)  # step 7
            for storage in here.storages:
                self._remove_lines(storage)
            if self._around.topics is not None:
                self._around.topics.drop_dead_letters(self._user, book)
            self._verify(keys, here)  # step 8
        return book.close()

    def undo(self) -> int:
        """End a block; the new floor. Raises OperatorError where the user is not blocked."""
        with ExitStack() as stack:
            here = FoldersHere(self._store, self._around.files, self._user, stack)
            if (noted := here.blocked()) is not None:  # the store may have been lost since
                self._store.raise_floor(self._user, noted)
            # Later than the block, or a folder that remembers that would take it for what the store lost.
            floor = max(self._around.database.clock(), time_of_block(self._floor() or 0) + 1)
            if not self._store.end_block(self._user, floor):
                raise OperatorError(
                    f"user {self._user} is not blocked, so there is nothing to undo: see `snapshot-admin forget --help`"
                )
            here.unblock()
        return floor

    # -------------------------------------------------------------------------------------------------- steps 1 and 2

    def _refuse(self, *, force: bool) -> None:
        rows = self._around.database.comments_of_users(self._user, self._user, None, PAGE)
        if rows and not force:
            some = f"{len(rows)} comment{'s' * (len(rows) != 1)}" if len(rows) < PAGE else f"{PAGE} comments or more"
            raise OperatorError(
                f"the database still has {some} of user {self._user}, deleted ones included: remove the rows in "
                "WhiteBalloon first, or forget and block the user all the same with --force"
            )

    def _profiles(self) -> set[ProfileKey]:
        return set(self._store.profiles(self._user, self._user))

    def _unfinished(self) -> dict[int, _Noted]:
        try:
            return _decode(self._store.document(_DOCUMENT) or b"{}")
        except DecodingError:
            return {}

    def _note(self, keys: Collection[ProfileKey], *, due: bool) -> None:
        """Put this user's profiles into the document; where there are none, take the user out of it."""
        token = secrets.token_hex(8)
        deadline = self._now() + 2 * _LEASE_SECONDS
        while not self._store.lease(_DOCUMENT, token, _LEASE_SECONDS):
            if self._now() > deadline:
                raise OperatorError("another `snapshot-admin forget` runs: run it again after that")
            self._sleep(_STEP_SECONDS)
        noted = self._unfinished()
        noted.pop(self._user, None)
        if keys:
            noted[self._user] = _Noted({key.group_slug for key in keys}, due)
        self._store.put_document(_DOCUMENT, token, msgspec.json.encode(noted) if noted else b"")
        self._store.release(_DOCUMENT, token)

    # -------------------------------------------------------------------------------------------------- steps 3 to 5

    def _remove(self) -> bool:
        """Remove the profiles that are there; whether any of their comments had a row, as far as they know."""
        floor = self._around.database.clock()
        self._raise_floor(floor)
        keys = self._profiles()
        held = self._registers(keys)
        if held.revision > floor:  # ahead of the clock
            self._raise_floor(held.revision)
        remove_profiles(self._store, keys)
        self._book.removed("profiles", self._around.redis, len(keys))
        self._book.removed("registers of comments, with their labels", self._around.redis, held.comments)
        return held.rows

    def _raise_floor(self, floor: int) -> None:
        blocked, present = self._book.receipt.blocked, self._floor() or 0
        self._block = present if is_block(present) else block_at(max(floor, present))
        self._store.raise_floor(self._user, self._block if blocked else floor)
        self._book.receipt.floor = None if blocked else self._floor()

    def _is_blocked(self, noted: int | None) -> bool:
        """By the store, or by a folder that noted it, unless the store has seen its end since."""
        floor = self._floor() or 0
        return is_block(floor) or (noted is not None and not has_ended(noted, floor))

    def _floor(self) -> int | None:
        return self._store.floors([bucket_of(self._user)]).get(self._user)

    def _registers(self, keys: Iterable[ProfileKey]) -> _Registers:
        comments, revision, rows = 0, 0, False
        for key in keys:
            for name, packed in self._store.scan(key):
                if is_register(name):
                    comments += 1
                    try:
                        one = unpack(packed)
                    except UNREADABLE:
                        continue
                    revision = max(revision, one.comment_revision, one.insight_revision)
                    rows |= has_row(one)
        return _Registers(comments, revision, rows)

    def _alive(self) -> set[ProfileKey]:
        """The profiles with comments that were written since."""
        return {key for key in self._profiles() if self._registers([key]).rows}

    def _wait_for_tail(self, keys: set[ProfileKey]) -> None:
        """See the tail through what it still says of the rows that went; it says of each that it is gone."""
        time = time_of_reading(self._store, self._around.database.clock())
        deadline = self._now() + _WAIT_SECONDS
        while tail_is_running(self._store) and not all(covered(observe(self._store), key, time) for key in keys):
            if self._now() > deadline:
                self._book.remains(
                    "ids of the comments that are gone",
                    self._around.redis,
                    "the tail has not looked at all rows yet: run forget again later, or wait for the nightly run",
                )
                return
            self._sleep(_STEP_SECONDS)
        left = self._profiles() - self._alive()
        if left:
            self._raise_floor(self._registers(left).revision)

    # -------------------------------------------------------------------------------------------------- steps 6 to 8

    def _pause(self) -> Callable[[], bool]:
        """What waits a little, and then says whether there is time left."""
        deadline = self._now() + _WAIT_SECONDS

        def pause() -> bool:
            self._sleep(_STEP_SECONDS)
            return self._now() < deadline

        return pause

    def _announce(self, keys: set[ProfileKey], here: FoldersHere) -> None:
        """Announce the ends of the profiles that belong to no folder that was flushed."""
        if self._around.topics is not None:
            left = sorted(keys - here.flushed)
            self._around.topics.announce_ends(left, self._around.announcer, self._store.clock(), self._book)

    def _remove_lines(self, storage: Path) -> None:
        user = self._user
        letters = FileDeadLetters(storage / DEAD_LETTERS, self._clock)
        self._rewrite("dead letters", storage / DEAD_LETTERS, lambda path: remove_lines(path, holds_user(user)))
        self._try("dead letters", storage / DEAD_LETTERS, lambda: letters.drop(concerns_user(user)))
        self._rewrite("announcements", storage / ANNOUNCEMENTS, lambda path: remove_user(path, user))
        self._rewrite("lines of the run log", storage / RUN_LOG, lambda path: remove_lines(path, names_user(user)))

    def _rewrite(self, what: str, place: Path, rewrite: Callable[..., int]) -> None:
        plain, compressed = generations(place)
        for path in plain:
            self._try(what, path, lambda path=path: rewrite(path))  # type: ignore[misc]  # mypy can't infer it
        for path in compressed:
            self._book.remains(what, path, "a compressed file is not looked into: remove it, or wait for its rotation")

    def _try(self, what: str, where: object, work: Callable[[], int]) -> None:
        try:
            self._book.removed(what, where, work())
        except (OSError, OperatorError) as error:
            self._book.failed(what, where, error)

    def _verify(self, keys: set[ProfileKey], here: FoldersHere) -> None:
        deadline = self._now() + _ELSEWHERE_SECONDS
        while here.waits_elsewhere(keys) and self._now() < deadline:  # a consumer that runs there is done at once
            self._sleep(_STEP_SECONDS)
        for key in keys:
            self._store.remove(key, self._store.load({key: ()})[key].version)  # what no folder waits for any more
        here.remaining(keys, self._book)
        if self._around.topics is not None:
            self._around.topics.remaining(keys, self._book)
        self._book.remains_anyway(self._around.redis)
        if self._book.receipt.complete:
            self._note(keys if here.waits_elsewhere(keys) else (), due=True)

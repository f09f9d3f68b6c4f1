"""A folder of profiles brought in step with the database, without a store: what `wb signal-profile snapshot` does.

1 read the groups and split the users into ranges; 2 range by range, in several processes, build the snapshots and
prepare the files that differ; 3 find the files whose profile no longer exists; 4 stop before anything has changed where
the deletion guard blocks; 5 move all files to their places, and remove the others.
"""

import secrets
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import NamedTuple

import msgspec
import structlog

from projections.comments.groups import Groups
from projections.comments.rows import InvalidRowError
from projections.database.database import Database
from projections.errors import OperatorError
from projections.profile_key import ProfileKey
from snapshot.deletion_guard import Cause, PendingDeletions, Totals, blocked_message, cause_of, reason_to_block
from snapshot.direct import direct_snapshots
from snapshot.files.folder import ProfileFolder, why_taken
from snapshot.files.ownership import file_name, owned, user_of
from snapshot.files.staging import Place, Prepared, Staging
from snapshot.processes import fork
from snapshot.runtime.logs import warn_invalid_row
from snapshot.schema import SignalProfileSnapshot, parse_file

log = structlog.get_logger()

Range = tuple[int, int]
OpenDatabase = Callable[[], AbstractContextManager[Database]]

COMMENTS_A_RANGE = 5_000
_RANGES_A_WORKER = 4
_NAMED = 10
"""So many invalid rows are named by each process: where all are invalid, cron would mail as many lines."""


class Seen(msgspec.Struct):
    """What was seen of some profiles as they are now, and what the run would remove of what their files show.

    `comments`: rows read, as a rebuild counts them: deleted ones and those that count nowhere too. A file doesn't tell
    which comments have tags, so tags are counted by profiles.
    """

    profiles: int = 0
    comments: int = 0
    unchanged: int = 0
    invalid_rows: int = 0
    filed: Totals = msgspec.field(default_factory=Totals)
    deletions: PendingDeletions = msgspec.field(default_factory=PendingDeletions)

    def add(self, other: "Seen") -> None:
        """Add the same of other profiles."""
        self.profiles += other.profiles
        self.comments += other.comments
        self.unchanged += other.unchanged
        self.invalid_rows += other.invalid_rows
        self.filed.merge(other.filed)
        self.deletions.merge(other.deletions)

    def compare(self, filed: SignalProfileSnapshot, now: SignalProfileSnapshot | None, groups: Groups) -> None:
        """Count a profile that has a file; `now` is None where the profile is no more."""
        before, after = filed.message_count, 0 if now is None else now.message_count
        tagged = now is not None and bool(filed.top_tags)
        untagged = now is not None and tagged and not now.top_tags
        deleted = {_cause(filed, now, groups): before - after} if before > after else {}
        self.filed.add_profile(before, tagged)
        self.deletions.add_profile(before, after, deleted, tagged=tagged, untagged=untagged)


class PreparedPart(NamedTuple):
    """One range's outcome: the names of its files, those of them that were prepared, and what was seen."""

    names: list[str]
    prepared: list[Prepared]
    seen: Seen


class Stale(NamedTuple):
    """The file of a profile that no longer exists."""

    key: ProfileKey
    place: Place
    snapshot: SignalProfileSnapshot


class Exported(NamedTuple):
    """What a run did; `overtaken` files were written by another process meanwhile, and left."""

    profiles: int
    comments: int
    written: int
    unchanged: int
    removed: int
    overtaken: int
    invalid_rows: int


class Preparation:
    """Step 2 for one range; each process opens databases of its own, once."""

    def __init__(self, open_database: OpenDatabase, groups: Groups, folder: ProfileFolder, staging: Staging) -> None:
        self._open_database = open_database
        self._groups = groups
        self._group_slug = folder.identity.group_slug
        self._staging = staging
        self.found = frozenset(folder.names())
        """The names of the files that were there at the beginning."""
        self._stack = ExitStack()
        self._database: Database | None = None
        self._named = 0

    def __call__(self, users: Range) -> PreparedPart:
        """Build and prepare. Raises OperatorError, DatabaseUnavailableError, OSError."""
        if self._database is None:
            self._database = self._stack.enter_context(self._open_database())
        part = PreparedPart([], [], Seen())

        def on_invalid_row(error: InvalidRowError) -> None:
            part.seen.invalid_rows += 1
            self._named += 1
            if self._named <= _NAMED:
                warn_invalid_row(error)

        def on_rows(rows: int) -> None:
            part.seen.comments += rows

        for snapshot in direct_snapshots(self._database, self._groups, *users, on_invalid_row, on_rows=on_rows):
            self._prepare(snapshot, part)
        return part

    def close(self) -> None:
        """Close the databases."""
        self._stack.close()

    def _prepare(self, snapshot: SignalProfileSnapshot, part: PreparedPart) -> None:
        name = file_name(ProfileKey(snapshot.user_id, snapshot.group_slug), self._group_slug)
        content = snapshot.file_bytes()
        before, stamp = self._staging.current(name) if name in self.found else (None, None)
        part.names.append(name)
        if before != content:
            part.prepared.append(self._staging.prepare(Place(name, stamp), content))
        part.seen.profiles += 1
        part.seen.unchanged += before == content
        if (filed := snapshot if before == content else _parsed(before)) is not None:
            part.seen.compare(filed, snapshot, self._groups)


def _parsed(content: bytes | None) -> SignalProfileSnapshot | None:
    try:
        return None if content is None else parse_file(content)
    except ValueError:
        return None  # damaged: it shows nothing that would be removed


class Export:
    """One run into one folder. `users`: only these, else all; `progress` is called after each range."""

    def __init__(
        self,
        open_database: OpenDatabase,
        groups: Groups,
        folder: ProfileFolder,
        users: Collection[int] | None = None,
        token: Callable[[], str] = lambda: secrets.token_hex(3),
    ) -> None:
        self._groups = groups
        self._folder = folder
        self._users = users
        self._staging = Staging(folder.path, token(), folder.disk)
        self._preparation = Preparation(open_database, groups, folder, self._staging)

    def has_files(self, user_id: int) -> bool:
        """Whether the folder has a file of this user."""
        return any(user_of(name) == user_id for name in self._preparation.found)

    def run(
        self, ranges: Sequence[Range], *, processes: int, prune_all: bool, progress: Callable[[], object]
    ) -> Exported:
        """Do steps 2 to 5. Raises OperatorError where the deletion guard blocks, or the folder can't be written."""
        try:
            part = self._prepared(fork.map_forked(self._preparation, ranges, processes), progress)
            self._refuse_clashing(part.names)
            stale = list(self._stale(set(part.names)))
            if not prune_all:
                self._ask_guard(part.seen, stale)
            moved = self._staging.move(part.prepared, [one.place for one in stale])
        except OSError as error:
            self._abandon()
            raise OperatorError(
                f"{error.filename or self._folder.path} can't be written ({error.strerror}); make room there, give the "
                "folder to this user, or choose another with --output-dir"
            ) from error
        except BaseException:
            self._abandon()
            raise
        finally:
            self._preparation.close()
        seen = part.seen
        if moved.left:
            log.info("files that another process wrote meanwhile were left", files=moved.left)
        return Exported(
            profiles=seen.profiles,
            comments=seen.comments,
            written=moved.written,
            unchanged=seen.unchanged,
            removed=moved.removed,
            overtaken=moved.left,
            invalid_rows=seen.invalid_rows,
        )

    def _abandon(self) -> None:
        with suppress(OSError):  # whoever opens the folder next cleans up
            self._staging.abandon()

    def _prepared(self, parts: Iterable[PreparedPart], progress: Callable[[], object]) -> PreparedPart:
        whole = PreparedPart([], [], Seen())
        for part in parts:
            whole.names.extend(part.names)
            whole.prepared.extend(part.prepared)
            whole.seen.add(part.seen)
            progress()
        return whole

    def _stale(self, names: Collection[str]) -> Iterator[Stale]:
        """Step 3. A file that is no snapshot of ours is left where it is."""
        slug = self._folder.identity.group_slug
        for name in sorted(self._preparation.found.difference(names)):
            if not self._covers(name):
                continue
            content, stamp = self._staging.current(name)
            snapshot = None if content is None else owned(content, name, slug)
            if snapshot is None:
                log.warning("a file in the folder is not a profile; it is left", file=str(self._folder.path / name))
            else:
                yield Stale(ProfileKey(snapshot.user_id, snapshot.group_slug), Place(name, stamp), snapshot)

    def _covers(self, name: str) -> bool:
        """Whether this run would have written a file of that name, were there such a profile."""
        user_id = user_of(name)
        return user_id is not None and (self._users is None or user_id in self._users)

    def _refuse_clashing(self, names: Iterable[str]) -> None:
        for name, other in self._folder.clashing(names).items():
            raise OperatorError(f"{why_taken(name, other)}; nothing was changed")

    def _ask_guard(self, seen: Seen, stale: Sequence[Stale]) -> None:
        """Step 4: files against what they would become."""
        for one in stale:
            seen.compare(one.snapshot, None, self._groups)
        reason = reason_to_block(seen.deletions, seen.filed, tagged="profiles")
        if reason is not None:
            raise OperatorError(f"{blocked_message(reason, '--prune-all')}; nothing was changed")


def _cause(filed: SignalProfileSnapshot, now: SignalProfileSnapshot | None, groups: Groups) -> Cause | None:
    """The act that took comments out of a profile: its membership ended, or one request is no longer the group's."""
    requests = set(filed.request_ids).difference(() if now is None else now.request_ids)
    causes = {cause_of(ProfileKey(filed.user_id, filed.group_slug), request, groups) for request in requests}
    return causes.pop() if len(causes) == 1 else None


def ranges_of(database: Database, groups: Groups) -> list[Range]:
    """Step 1: all users in ranges of about 5,000 comments, without those that hold no member of these groups."""
    members = sorted(groups.members)

    def has_members(first: int, last: int) -> bool:
        index = bisect_left(members, first)
        return index < len(members) and members[index] <= last

    return [(first, last) for first, last in database.user_ranges(COMMENTS_A_RANGE) if has_members(first, last)]


def fitting(asked: int | None, ranges: Sequence[Range], members: int) -> int:
    """How many processes to use: as asked for, else what these ranges of so many members are worth."""
    return fork.workers(asked, len(ranges) if asked else len(ranges) // _RANGES_A_WORKER, members)

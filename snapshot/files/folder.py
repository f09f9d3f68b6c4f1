"""The folder of profile files: one scope, a marker that names it, and files that are whole or not there.

A file is written beside its place under a temporary name, flushed to the disk and moved over the old one, so that a
reader, or a crash, never meets half a file. Few are flushed one by one, by several threads; many all together.
"""

import errno
import os
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from projections.errors import OperatorError
from projections.profile_key import ProfileKey
from projections.store.protocol import Folder
from snapshot.files.atomic import replace, sweep, write_temporary
from snapshot.files.disk import LOCAL, Disk
from snapshot.files.marker import MARKER, make_marker
from snapshot.files.ownership import file_name, owned
from snapshot.schema import SignalProfileSnapshot, parse_file

NO_FILE = ""
"""The hash that stands for no snapshot, and so for no file."""
DAMAGED = "damaged"
"""The hash that stands for something that is not the profile's snapshot, or can't be read."""

_WRITERS = 8


class NotStartedError(TimeoutError):
    """A file was not begun, because there was no time left."""


class NotDurableError(OSError):
    """A file lies there, but it is not known to outlive a power cut."""


class ForeignFileError(OSError):
    """What lies there is not ours to remove."""


class NameTakenError(OSError):
    """Another profile has this file, on a file system on which their names are the same."""


def _never() -> bool:
    return False


def _not_started() -> NotStartedError:
    return NotStartedError(errno.ETIME, os.strerror(errno.ETIME))


def differs(on_disk: str, expected: str) -> bool:
    """Whether a file has another hash than it should have; where none should be, what is not ours may lie."""
    return on_disk != expected and (on_disk, expected) != (DAMAGED, NO_FILE)


def why_taken(name: str, other: str) -> str:
    """What is said of two profiles that would have one file."""
    return f"{other} and {name} are one file on a file system that ignores case: use another, or a folder a group"


_Contents = Mapping[ProfileKey, bytes | None]


class ProfileFolder:
    """One folder and its scope: `group_slug`, or None for all groups. `writers` write files at the same time."""

    def __init__(self, path: Path, identity: Folder, disk: Disk = LOCAL, writers: Executor | None = None) -> None:
        self.path = path
        self.identity = identity
        self.disk = disk
        self._writers = writers or ThreadPoolExecutor(_WRITERS, thread_name_prefix="files")
        self._together = True
        self._ignores_case = disk.exists(f"{path}/{MARKER.upper()}")

    def name(self, key: ProfileKey) -> str:
        """A profile's file name."""
        return file_name(key, self.identity.group_slug)

    def place(self, key: ProfileKey) -> Path:
        """Where a profile's file lies."""
        return self.path / self.name(key)

    def read(self, key: ProfileKey) -> bytes | None:
        """A profile's file; None where there is none. Raises OSError where it can't be read."""
        try:
            return self.disk.read(f"{self.path}/{self.name(key)}")
        except FileNotFoundError:
            return None

    def owned(self, name: str) -> SignalProfileSnapshot | None:
        """What lies under a name, where it is ours; see `snapshot.files.ownership`."""
        try:
            return owned(self.disk.read(f"{self.path}/{name}"), name, self.identity.group_slug)
        except OSError:
            return None

    def hash_on_disk(self, key: ProfileKey) -> str:
        """The hash of a profile's file; NO_FILE where nothing lies there, DAMAGED where that is not its snapshot."""
        name = self.name(key)
        snapshot = self.owned(name)
        if snapshot is not None:
            return snapshot.snapshot_hash
        return DAMAGED if self.disk.exists(f"{self.path}/{name}") else NO_FILE

    def lacks(self, key: ProfileKey) -> bool:
        """Whether nothing lies in a profile's place."""
        return not self.disk.exists(f"{self.path}/{self.name(key)}")

    def write(
        self, contents: _Contents, enough: Callable[[], bool] = _never, noted: Container[ProfileKey] = ()
    ) -> dict[ProfileKey, OSError]:
        """Write files (None: remove one) so that they outlive a power cut; the errors of those that failed.

        Only what is ours is removed (else ForeignFileError); `noted` are profiles that the journal names. Once it is
        `enough`, no more are begun (NotStartedError).
        """
        clashing = self.clashing(self.name(key) for key, content in contents.items() if content is not None)
        refused = {
            key: error for key, content in contents.items() if (error := self._refusal(key, content, noted, clashing))
        }
        accepted = {key: content for key, content in contents.items() if key not in refused}
        errors = (self._put_together if self.flushes_all(len(accepted)) else self._put_each)(accepted, enough)
        if len(errors) < len(accepted):
            try:
                self.disk.flush(str(self.path))
            except OSError as error:
                unsafe = NotDurableError(error.errno, error.strerror)
                errors = {key: errors.get(key, unsafe) for key in accepted}
        return refused | errors

    def clashing(self, names: Iterable[str]) -> dict[str, str]:
        """Those of the names that would be one file with an earlier one, and that one."""
        if not self._ignores_case:
            return {}
        first: dict[str, str] = {}
        return {name: other for name in names if (other := first.setdefault(name.casefold(), name)) != name}

    def _refusal(
        self, key: ProfileKey, content: bytes | None, noted: Container[ProfileKey], clashing: Mapping[str, str]
    ) -> OSError | None:
        name = self.name(key)
        path = f"{self.path}/{name}"
        if content is None:
            proven = self.owned(name) is not None or (key in noted and self.disk.is_file(path))
            return None if proven or not self.disk.exists(path) else ForeignFileError(errno.EPERM, "is not ours", path)
        if name in clashing:
            return NameTakenError(errno.EEXIST, why_taken(name, clashing[name]), path)
        return self._taken(name, path) if self._ignores_case else None

    def _taken(self, name: str, path: str) -> NameTakenError | None:
        """Whether the file is that of another profile, whose name differs in case only."""
        try:
            other = parse_file(self.disk.read(path))
        except (OSError, ValueError):
            return None
        theirs = self.name(ProfileKey(other.user_id, other.group_slug))
        if theirs == name or theirs.casefold() != name.casefold():
            return None
        return NameTakenError(errno.EEXIST, why_taken(name, theirs), path)

    def flushes_all(self, files: int) -> bool:
        """Whether writing so many files flushes all that was written before on the same file system."""
        return self._together and files > self.disk.FEW and self.disk.CAN_FLUSH_ALL

    def _put_each(self, contents: _Contents, enough: Callable[[], bool]) -> dict[ProfileKey, OSError]:
        """Several at once: the disk's flush is what takes the time."""

        def put(key: ProfileKey, content: bytes | None) -> OSError | None:
            return _not_started() if enough() else self._put(key, content)

        outcomes = zip(contents, self._writers.map(put, contents, contents.values()), strict=True)
        return {key: error for key, error in outcomes if error is not None}

    def _put(self, key: ProfileKey, content: bytes | None) -> OSError | None:
        try:
            if content is None:
                self.disk.remove(str(self.place(key)))
            else:
                replace(self.place(key), content, disk=self.disk)
        except OSError as error:
            return error
        return None

    def _put_together(self, contents: _Contents, enough: Callable[[], bool]) -> dict[ProfileKey, OSError]:
        """One flush for all. It flushes what others wrote as well; if that takes too long, it is not done again."""
        waiting, errors = self._prepared(contents, enough)
        try:
            self.disk.flush_together(str(self.path), list(waiting.values()))
        except OSError as error:
            errors = {key: errors.get(key, error) for key in contents}
        if enough():
            self._together = False
            errors = {key: _not_started() for key in contents}
        for key in contents.keys() - errors.keys():
            failed = self.disk.move(waiting.pop(key, None), f"{self.path}/{self.name(key)}")
            if failed is not None:
                errors[key] = failed
        for path in waiting.values():
            with suppress(OSError):
                self.disk.remove(path)
        return errors

    def _prepared(
        self, contents: _Contents, enough: Callable[[], bool]
    ) -> tuple[dict[ProfileKey, str], dict[ProfileKey, OSError]]:
        """Write temporary files; where they lie, and the errors of those that failed."""
        waiting: dict[ProfileKey, str] = {}
        errors: dict[ProfileKey, OSError] = {}
        for key, content in contents.items():
            if enough():
                errors[key] = _not_started()
            elif content is not None:
                try:
                    waiting[key] = write_temporary(self.path, content, self.disk, like=self.place(key), flush=False)
                except OSError as error:
                    errors[key] = error
        return waiting, errors

    def names(self) -> Iterator[str]:
        """The names of all profile files that lie there, in no order: there may be a million."""
        return (name for name in self.disk.names(str(self.path)) if name.endswith(".json"))

    def keep(self) -> None:
        """Make sure that this is still our folder; one that was removed is made again.

        Raises OSError where it can't be made, OperatorError where another run made it for itself.
        """
        self.disk.make_folder(str(self.path), parents=True)
        if make_marker(self.path, self.identity, self.disk) != self.identity:
            raise OperatorError(
                f"the folder {self.path} was removed and recreated by another run; start this one again"
            )

    def close(self) -> None:
        """End the writing threads."""
        self._writers.shutdown()


def open_folder(
    path: Path,
    group_slug: str | None,
    clock: Callable[[], float] = time.time,
    *,
    disk: Disk = LOCAL,
    writers: Executor | None = None,
) -> ProfileFolder:
    """Open a folder for one scope, and make it if it is not there.

    Raises OperatorError where it can't be written, or holds another scope.
    """
    try:
        disk.make_folder(str(path), parents=True)
        identity = make_marker(path, Folder(disk.token(), group_slug), disk)
        disk.remove(write_temporary(path, b"{}", disk))  # a read-only folder is better found out now
        sweep(path, clock(), disk)
    except OSError as error:
        raise OperatorError(
            f"the folder {path} can't be written ({_reason(path, error)}); fix that, or choose another folder "
            "with --output-dir or SNAPSHOT_STORAGE_DIR"
        ) from error
    if identity.group_slug != group_slug:
        raise OperatorError(
            f"the folder {path} holds {_scope(identity.group_slug)}, this run is for {_scope(group_slug)}; "
            "give each scope a folder of its own with --output-dir"
        )
    return ProfileFolder(path, identity, disk, writers)


def _reason(path: Path, error: OSError) -> str:
    files = [place for place in (path, *path.parents) if os.path.isfile(place)]  # noqa: PTH113 - pathlib may raise
    of_marker = f"{MARKER}: " if str(error.filename).endswith(MARKER) else ""
    return f"{files[0]} is a file, not a folder" if files else of_marker + (error.strerror or str(error))


def _scope(group_slug: str | None) -> str:
    return "all groups" if group_slug is None else f"the group {group_slug}"

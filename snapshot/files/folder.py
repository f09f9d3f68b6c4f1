"""The folder of profile files: one scope, a marker that names it, and files that are whole or not there.

A file is written beside its place under a temporary name, flushed to the disk and moved over the old one, so that a
reader, or a crash, never meets half a file. Few are flushed one by one, by several threads; many all together.
"""

import errno
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

import msgspec

from projections.errors import OperatorError
from projections.profile_key import ProfileKey
from projections.store.protocol import Folder
from snapshot.files import disk
from snapshot.files.disk import Disk

MARKER = ".signal-profiles"
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")
_LONGEST_NAME = 200
_STALE_SECONDS = 3600.0
_WRITERS = 8


class NotStartedError(TimeoutError):
    """A file was not begun, because there was no time left."""


class NotDurableError(OSError):
    """A file lies there, but it is not known to outlive a power cut."""


class _Marker(msgspec.Struct):
    id: str
    group_slug: str | None


def file_name(key: ProfileKey, group_slug: str | None) -> str:
    """A profile's file name in a folder of that scope. No two profiles of a scope have the same.

    >>> file_name(ProfileKey(7, "harvard"), "harvard")
    '7.json'
    >>> file_name(ProfileKey(7, "../../etc"), None)
    '7-%2E.%2F..%2Fetc.json'
    """
    if group_slug is not None:
        return f"{key.user_id}.json"
    name = f"{key.user_id}-{_quoted(key.group_slug)}"
    if len(name) + len(".json") > _LONGEST_NAME:
        digest = hashlib.sha256(key.group_slug.encode()).hexdigest()[:32]
        # The tilde stands in no other name, so no slug can be made to look like a cut one.
        name = f"{name[: _LONGEST_NAME - len(digest) - len('~.json')]}~{digest}"
    return f"{name}.json"


@lru_cache(1024)
def _quoted(slug: str) -> str:
    quoted = quote(slug, safe="").replace("~", "%7E")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def _never() -> bool:
    return False


def _left() -> NotStartedError:
    return NotStartedError(errno.ETIME, os.strerror(errno.ETIME))


_Contents = Mapping[ProfileKey, bytes | None]


class ProfileFolder:
    """One folder and its scope: `group_slug`, or None for all groups. `writers` write files at the same time."""

    def __init__(self, path: Path, identity: Folder, disk: Disk = disk, writers: Executor | None = None) -> None:
        self.path = path
        self.identity = identity
        self.disk = disk
        self._writers = writers or ThreadPoolExecutor(_WRITERS, thread_name_prefix="files")
        self._together = True

    def place(self, key: ProfileKey) -> Path:
        """Where a profile's file lies."""
        return self.path / file_name(key, self.identity.group_slug)

    def read(self, key: ProfileKey) -> bytes | None:
        """A profile's file; None where there is none. Raises OSError where it can't be read."""
        try:
            return self.disk.read(f"{self.path}/{file_name(key, self.identity.group_slug)}")
        except FileNotFoundError:
            return None

    def write(self, contents: _Contents, enough: Callable[[], bool] = _never) -> dict[ProfileKey, OSError]:
        """Write files (None: remove one) so that they outlive a power cut; the errors of those that failed.

        Once it is `enough`, no more are begun (NotStartedError).
        """
        many = self.flushes_all(len(contents))
        errors = (self._put_together if many else self._put_each)(contents, enough)
        if len(errors) < len(contents):
            try:
                self.disk.flush(str(self.path))
            except OSError as error:
                unsafe = NotDurableError(error.errno, error.strerror)
                errors = {key: errors.get(key, unsafe) for key in contents}
        return errors

    def flushes_all(self, files: int) -> bool:
        """Whether writing so many files flushes all that was written before on the same file system."""
        return self._together and files > self.disk.FEW and self.disk.CAN_FLUSH_ALL

    def _put_each(self, contents: _Contents, enough: Callable[[], bool]) -> dict[ProfileKey, OSError]:
        """Several at once: the disk's flush is what takes the time."""

        def put(key: ProfileKey, content: bytes | None) -> OSError | None:
            return _left() if enough() else self._put(key, content)

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
            errors = {key: _left() for key in contents}
        for key in contents.keys() - errors.keys():
            failed = self.disk.move(waiting.pop(key, None), f"{self.path}/{file_name(key, self.identity.group_slug)}")
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
                errors[key] = _left()
            elif content is not None:
                path = f"{self.path}/{_temporary_name(self.disk)}"
                try:
                    self.disk.write_new(path, content)
                    waiting[key] = path
                except OSError as error:
                    errors[key] = error
        return waiting, errors

    def names(self) -> Iterator[str]:
        """The names of all profile files that lie there, in no order: there may be a million."""
        return (name for name in self.disk.names(str(self.path)) if name.endswith(".json"))

    def keep(self) -> None:
        """Make sure that this is still our folder; one that was removed is made again.

        Raises OSError where it can't be made, OperatorError where somebody else made it for themselves.
        """
        self.disk.make_folder(str(self.path), parents=True)
        mine = _Marker(self.identity.id, self.identity.group_slug)
        if _mark(self.path, mine, self.disk) != mine:
            raise OperatorError(
                f"the folder {self.path} was removed and made anew by another run; start this one again"
            )

    def close(self) -> None:
        """End the writing threads."""
        self._writers.shutdown()


def replace(place: Path, content: bytes, *, beside: Path | None = None, flush: bool = True, disk: Disk = disk) -> None:
    """Write a file whole or not at all, and flush it to the disk. The folder's own flush is left to the caller.

    `beside`: the folder for the temporary file, which is swept if a crash leaves it there; else the file's own.
    """
    temporary = _written(beside or place.parent, content, disk, flush=flush)
    try:
        disk.replace(temporary, str(place))
    except BaseException:
        disk.remove(temporary)
        raise


def _written(folder: Path, content: bytes, disk: Disk, *, flush: bool = True) -> str:
    """A new temporary file in that folder, flushed to the disk."""
    temporary = f"{folder}/{_temporary_name(disk)}"
    disk.write_new(temporary, content)
    try:
        if flush:
            disk.flush(temporary)
    except BaseException:
        disk.remove(temporary)
        raise
    return temporary


def _temporary_name(disk: Disk) -> str:
    return f".{disk.token()}.tmp"


def open_folder(
    path: Path,
    group_slug: str | None,
    clock: Callable[[], float] = time.time,
    *,
    disk: Disk = disk,
    writers: Executor | None = None,
) -> ProfileFolder:
    """Open a folder for one scope, and make it if it is not there.

    Raises OperatorError where it can't be written, or holds another scope.
    """
    try:
        disk.make_folder(str(path), parents=True)
        marker = _mark(path, _Marker(disk.token(), group_slug), disk)
        disk.remove(_written(path, b"{}", disk))  # a read-only folder is better found out now
        _sweep(path, clock(), disk)
    except OSError as error:
        raise OperatorError(
            f"the folder {path} can't be written ({_reason(path, error)}); mend that, or choose another folder "
            "with --output-dir or SNAPSHOT_STORAGE_DIR"
        ) from error
    if marker.group_slug != group_slug:
        raise OperatorError(
            f"the folder {path} holds {_scope(marker.group_slug)}, this run is for {_scope(group_slug)}; "
            "give each scope a folder of its own with --output-dir"
        )
    return ProfileFolder(path, Folder(marker.id, group_slug), disk, writers)


def _reason(path: Path, error: OSError) -> str:
    files = [place for place in (path, *path.parents) if place.is_file()]
    return f"{files[0]} is a file" if files else error.strerror or str(error)


def _scope(group_slug: str | None) -> str:
    return "all groups" if group_slug is None else f"the group {group_slug}"


def _mark(path: Path, mine: _Marker, disk: Disk) -> _Marker:
    """Read the marker, or make it: linked into its place whole, so that of two who make it at once one wins."""
    place = path / MARKER
    if not disk.exists(str(place)):
        temporary = _written(path, msgspec.json.encode(mine) + b"\n", disk)
        try:
            disk.link(temporary, str(place))
        except FileExistsError:
            pass
        finally:
            disk.remove(temporary)
        disk.flush(str(path))
    try:
        return msgspec.json.decode(disk.read(str(place)), type=_Marker)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise OperatorError(
            f"the marker {place} is damaged ({error}); remove it, and the next run makes it anew"
        ) from error


def _sweep(path: Path, now: float, disk: Disk) -> None:
    """Remove temporary files of ours that a crash left behind."""
    for name in disk.names(str(path)):
        if _TEMPORARY.fullmatch(name):
            with suppress(FileNotFoundError):  # another process' that just took its place
                if now - disk.modified(f"{path}/{name}") > _STALE_SECONDS:
                    disk.remove(f"{path}/{name}")

"""The folder of profile files: one scope, a marker that names it, and files that are whole or not there.

A file is written beside its place under a temporary name, flushed to the disk and moved over the old one, so that a
reader, or a crash, never meets half a file.
"""

import errno
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import msgspec

from projections.errors import OperatorError
from projections.profile import ProfileKey
from projections.store import Folder

MARKER = ".signal-profiles"
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")
_LONGEST_NAME = 200
_STALE_SECONDS = 3600.0
_WRITERS = 8


class LeftError(TimeoutError):
    """A file was not begun, because there was no time left."""


class UnsafeError(OSError):
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
    slug = quote(key.group_slug, safe="").replace("~", "%7E")
    if slug.startswith("."):
        slug = f"%2E{slug[1:]}"
    name = f"{key.user_id}-{slug}"
    if len(name) + len(".json") > _LONGEST_NAME:
        digest = hashlib.sha256(key.group_slug.encode()).hexdigest()[:32]
        # The tilde stands in no other name, so no slug can be made to look like a cut one.
        name = f"{name[: _LONGEST_NAME - len(digest) - len('~.json')]}~{digest}"
    return f"{name}.json"


def _never() -> bool:
    return False


class ProfileFolder:
    """One folder and its scope: `group_slug`, or None for all groups."""

    def __init__(self, path: Path, identity: Folder) -> None:
        self.path = path
        self.identity = identity
        self._writers = ThreadPoolExecutor(_WRITERS, thread_name_prefix="files")

    def place(self, key: ProfileKey) -> Path:
        """Where a profile's file lies."""
        return self.path / file_name(key, self.identity.group_slug)

    def read(self, key: ProfileKey) -> bytes | None:
        """A profile's file; None where there is none. Raises OSError where it can't be read."""
        try:
            return self.place(key).read_bytes()
        except FileNotFoundError:
            return None

    def write(
        self, contents: Mapping[ProfileKey, bytes | None], enough: Callable[[], bool] = _never
    ) -> dict[ProfileKey, OSError]:
        """Write files (None: remove one) so that they outlive a power cut; the errors of those that failed.

        Several at once: the disk's flush is what takes the time. Once it is `enough`, no more are begun (LeftError).
        """

        def put(key: ProfileKey, content: bytes | None) -> OSError | None:
            return LeftError(errno.ETIME, os.strerror(errno.ETIME)) if enough() else self._put(key, content)

        outcomes = zip(contents, self._writers.map(put, contents, contents.values()), strict=True)
        errors = {key: error for key, error in outcomes if error is not None}
        if len(errors) < len(contents):
            try:
                _flush_folder(self.path)
            except OSError as error:
                unsafe = UnsafeError(error.errno, error.strerror)
                errors = {key: errors.get(key, unsafe) for key in contents}
        return errors

    def _put(self, key: ProfileKey, content: bytes | None) -> OSError | None:
        try:
            if content is None:
                self.place(key).unlink(missing_ok=True)
            else:
                replace(self.place(key), content)
        except OSError as error:
            return error
        return None

    def names(self) -> Iterable[str]:
        """The names of all profile files that lie there."""
        with os.scandir(self.path) as entries:
            return sorted(entry.name for entry in entries if entry.name.endswith(".json"))

    def keep(self) -> None:
        """Make sure that this is still our folder; one that was removed is made again.

        Raises OSError where it can't be made, OperatorError where somebody else made it for themselves.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        mine = _Marker(self.identity.id, self.identity.group_slug)
        if _mark(self.path, mine) != mine:
            raise OperatorError(
                f"the folder {self.path} was removed and made anew by another run; start this one again"
            )

    def close(self) -> None:
        """End the writing threads."""
        self._writers.shutdown()


def replace(place: Path, content: bytes) -> None:
    """Write a file whole or not at all, and flush it to the disk. The folder's own flush is left to the caller."""
    temporary = _written(place.parent, content)
    try:
        temporary.replace(place)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _written(folder: Path, content: bytes) -> Path:
    """A new temporary file in that folder, flushed to the disk."""
    temporary = folder / f".{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    return temporary


def open_folder(path: Path, group_slug: str | None, clock: Callable[[], float] = time.time) -> ProfileFolder:
    """Open a folder for one scope, and make it if it is not there.

    Raises OperatorError where it can't be written, or holds another scope.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        marker = _mark(path, _Marker(secrets.token_hex(8), group_slug))
        _written(path, b"{}").unlink()  # a read-only folder is better found out now
        _sweep(path, clock())
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
    return ProfileFolder(path, Folder(marker.id, group_slug))


def _reason(path: Path, error: OSError) -> str:
    files = [place for place in (path, *path.parents) if place.is_file()]
    return f"{files[0]} is a file" if files else error.strerror or str(error)


def _scope(group_slug: str | None) -> str:
    return "all groups" if group_slug is None else f"the group {group_slug}"


def _mark(path: Path, mine: _Marker) -> _Marker:
    """Read the marker, or make it: linked into its place whole, so that of two who make it at once one wins."""
    place = path / MARKER
    if not place.exists():
        temporary = _written(path, msgspec.json.encode(mine) + b"\n")
        try:
            os.link(temporary, place)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
        _flush_folder(path)
    try:
        return msgspec.json.decode(place.read_bytes(), type=_Marker)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise OperatorError(
            f"the marker {place} is damaged ({error}); remove it, and the next run makes it anew"
        ) from error


def _sweep(path: Path, now: float) -> None:
    """Remove temporary files of ours that a crash left behind."""
    with os.scandir(path) as entries:
        for entry in entries:
            if _TEMPORARY.fullmatch(entry.name):
                with suppress(FileNotFoundError):  # another process' that just took its place
                    if now - entry.stat().st_mtime > _STALE_SECONDS:
                        Path(entry.path).unlink()


def _flush_folder(path: Path) -> None:
    """Make renames in a folder outlive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

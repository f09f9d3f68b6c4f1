"""What is left of a person in files: lines of JSON, in the rotated ones beside them too, and files of profiles."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from consumer.dead_letters.dead_letters import DeadLetter
from projections.profile_key import ProfileKey
from snapshot.files.atomic import temporaries
from snapshot.files.folder import ProfileFolder
from snapshot.files.ownership import user_of
from snapshot.schema import parse_file

_COMPRESSED = {".gz", ".xz", ".bz2", ".zst", ".lz4", ".zip"}

Predicate = Callable[[bytes], bool]


def generations(path: Path) -> tuple[list[Path], list[Path]]:
    """A file of lines and those that were rotated away beside it (`.1`, `-20260102`): plain ones, compressed ones."""
    beside = sorted(path.parent.glob(f"{path.name}[.-]*")) if path.parent.is_dir() else []
    found = [one for one in (path, *beside) if one.is_file()]
    return [one for one in found if one.suffix not in _COMPRESSED], [one for one in found if one.suffix in _COMPRESSED]


def names_user(user_id: int) -> Predicate:
    """Whether a line of the run log names a user: by the id, an announcement's key, or a file's name."""
    user = b"%d" % user_id
    named = rb"(?:\busers?|--user)[ =](?:[0-9]+, )*%b(?![0-9])|(?<![0-9.:-])%b(?::[^0-9\s]|(?:-[^/\s]*)?\.json)" % (
        user,
        user,
    )
    found = re.compile(named)
    return lambda line: found.search(line) is not None


def concerns_user(user_id: int) -> Callable[[DeadLetter], bool]:
    """Whether a dead letter is about a user: by its key, or by what its value says."""
    user, says = b"%d" % user_id, holds_user(user_id)
    return lambda one: one.message.key == user or says(one.message.value or b"")


def holds_user(user_id: int) -> Predicate:
    """Whether JSON, or a part of it, or a line that quotes it, is about a user."""
    found = re.compile(rb'user_id\\*"\s*:\s*\\*"?%d(?![0-9])' % user_id)
    return lambda text: found.search(text) is not None


def owned_files(folder: ProfileFolder, user_id: int) -> dict[str, ProfileKey | None]:
    """The files that seem to be a user's, by name; None for those that are not provably ours. Raises OSError."""
    names = [name for name in folder.names() if user_of(name) == user_id]
    found = {name: folder.owned(name) for name in names}
    return {name: one if one is None else ProfileKey(one.user_id, one.group_slug) for name, one in found.items()}


def temporary_files(folder: ProfileFolder, user_id: int) -> Iterator[str]:
    """The paths of files of this user that a crash left beside their places. Raises OSError."""
    for path in temporaries(folder.path, folder.disk):
        try:
            if parse_file(folder.disk.read(path)).user_id == user_id:
                yield path
        except (OSError, ValueError):
            continue

"""The names of profile files, and the one rule of what is ours.

A file is ours where it is a regular file, its name is that of a profile of the folder's scope, and its content is a
snapshot of this very profile; or where the journal of unannounced files names the profile. Nothing else is removed, by
no command. The place of a profile that exists is ours to write, whatever lies there.
"""

import hashlib
import re
from functools import lru_cache
from urllib.parse import quote, unquote

from projections.profile_key import HIGHEST_ID, ProfileKey
from snapshot.schema import SignalProfileSnapshot, parse_file

_LONGEST = 200
_DIGITS_OF_A_HASH = 32
_LIKE_OURS = re.compile(r"([0-9]{1,19})(?:-([A-Za-z0-9._%~-]+))?\.json")
_CUT = "~"


def file_name(key: ProfileKey, group_slug: str | None) -> str:
    """A profile's file name in a folder for that group, or for all (None). No two profiles of a scope have the same.

    >>> file_name(ProfileKey(7, "harvard"), "harvard")
    '7.json'
    >>> file_name(ProfileKey(7, "../../etc"), None)
    '7-%2E.%2F..%2Fetc.json'
    """
    if group_slug is not None:
        return f"{key.user_id}.json"
    name = f"{key.user_id}-{_quoted(key.group_slug)}"
    if len(name) + len(".json") > _LONGEST:
        digest = hashlib.sha256(key.group_slug.encode()).hexdigest()[:_DIGITS_OF_A_HASH]
        name = f"{name[: _LONGEST - len(digest) - len('~.json')]}{_CUT}{digest}"
    return f"{name}.json"


@lru_cache(1024)
def _quoted(slug: str) -> str:
    quoted = quote(slug, safe="").replace(_CUT, "%7E")  # so that no slug can look like a cut one
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def user_of(name: str) -> int | None:
    """Whose profile a file of that name may be; its content has to prove it. None where it can't be one of ours.

    >>> user_of("7-harvard.json"), user_of("2024-budget.json"), user_of("notes.json"), user_of(f"{2**63}.json")
    (7, 2024, None, None)
    """
    found = _LIKE_OURS.fullmatch(name)
    return None if found is None or int(found[1]) > HIGHEST_ID else int(found[1])


def key_of(name: str, group_slug: str | None) -> ProfileKey | None:
    """The profile whose file would have this name; None where there is none, or where the name was cut.

    >>> key_of("7-a%20b.json", None), key_of("7-a b.json", None), key_of("007.json", "lions")
    (ProfileKey(user_id=7, group_slug='a b'), None, None)
    """
    user_id, found = user_of(name), _LIKE_OURS.fullmatch(name)
    if user_id is None or found is None or _CUT in name:
        return None
    key = ProfileKey(user_id, unquote(found[2] or "") if group_slug is None else group_slug)
    return key if key.group_slug and file_name(key, group_slug) == name else None


def owned(content: bytes, name: str, group_slug: str | None) -> SignalProfileSnapshot | None:
    """The snapshot in a file, where it is one of the profile whose file has this name: the proof that it is ours."""
    try:
        snapshot = parse_file(content)
    except ValueError:
        return None
    key = ProfileKey(snapshot.user_id, snapshot.group_slug)
    return snapshot if group_slug in (None, key.group_slug) and file_name(key, group_slug) == name else None

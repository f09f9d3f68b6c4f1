"""Files of profiles, made without a store."""

from pathlib import Path

import msgspec

from projections.profile_key import ProfileKey
from snapshot.files.ownership import file_name
from snapshot.fixtures import EXAMPLE


def profile_file(user_id: int, group_slug: str) -> bytes:
    """The content of a file of this profile."""
    return msgspec.structs.replace(EXAMPLE, user_id=user_id, group_slug=group_slug).file_bytes()


def put_profile_file(folder: Path, user_id: int, group_slug: str) -> Path:
    """Write one into a folder of all groups."""
    place = folder / file_name(ProfileKey(user_id, group_slug), None)
    place.write_bytes(profile_file(user_id, group_slug))
    return place

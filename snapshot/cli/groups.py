"""The check of GROUP_SLUG that every command makes before it writes anything."""

from pathlib import Path

from projections.comments.groups import Groups
from projections.errors import OperatorError
from projections.profile_key import HIGHEST_ID
from projections.store.protocol import Store
from snapshot.files.disk import LOCAL, Disk
from snapshot.files.marker import read_marker

_NAMED = 20


def refuse_unknown_group(
    slug: str | None, groups: Groups, folder: Path, store: Store | None = None, *, disk: Disk = LOCAL
) -> None:
    """Raise OperatorError for a group that has no members and, where there is a store, no profiles in it.

    A `folder` that is already the group's shows that it had some, and may hold files that have to go.
    """
    if slug is None or _is_for(folder, slug, disk):
        return
    known = sorted({each for mine in groups.members.values() for each in mine})
    if slug in known or (store and any(key.group_slug == slug for key in store.profiles(0, HIGHEST_ID))):
        return
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    named = f"{', '.join(known[:_NAMED]) or 'none'}{more}"
    raise OperatorError(f"there is no group {slug!r}; the groups are: {named}; correct GROUP_SLUG or --group-slug")


def _is_for(folder: Path, slug: str, disk: Disk) -> bool:
    try:
        return read_marker(folder, disk).group_slug == slug
    except (OSError, OperatorError):  # whoever opens it says so
        return False

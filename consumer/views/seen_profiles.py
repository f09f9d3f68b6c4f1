"""The profiles as they were last seen, so that an announcement says what it changes of one."""

from collections.abc import Mapping

import msgspec

from consumer.views.changes import Change, change
from projections.codec import UNREADABLE, unpack_head
from projections.profile_key import ProfileKey
from snapshot.announce.announcement import Announcement
from snapshot.build import build
from snapshot.schema import flat


class SeenProfiles:
    """What is known of each profile: the last announcement of it, else its head. All is kept packed: most never change.

    Without `heads`, what the first announcement of a profile changed is not known.
    """

    def __init__(self, heads: Mapping[ProfileKey, bytes | None] | None = None) -> None:
        self._heads = None if heads is None else dict(heads)
        self._seen: dict[ProfileKey, tuple[int, bytes]] = {}

    def load(self, heads: Mapping[ProfileKey, bytes | None]) -> None:
        """Know these from now on, but for what was announced."""
        self._heads = {key: packed for key, packed in heads.items() if key not in self._seen}

    def change(self, one: Announcement) -> Change | None:
        """Say what an announcement changes, and know it; None: it comes again, or late."""
        key = ProfileKey(one.user_id, one.group_slug)
        sequence, seen = self._seen.get(key, (0, None))
        if one.sequence <= sequence:
            return None
        before = self._by_head(key, one) if seen is None else flat(msgspec.json.decode(seen))
        self._seen[key] = one.sequence, msgspec.json.encode(one.snapshot)
        return change(one, before)

    def _by_head(self, key: ProfileKey, one: Announcement) -> dict[str, str] | None:
        if self._heads is None:
            return None if one.previous_hash else {}
        packed = self._heads.pop(key, None)
        try:
            snapshot = None if packed is None else build(key, unpack_head(packed))
        except (*UNREADABLE, IndexError):
            snapshot = None
        return {} if snapshot is None else flat(snapshot.to_dict())

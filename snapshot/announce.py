"""Telling downstream that a profile changed: `snapshot-changed` on Kafka, else a file of JSON lines."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one profile's canonical hash; `snapshot` and `snapshot_hash` are None when the profile is gone.

    `sequence` (microseconds of the store's clock, always growing for one profile) orders announcements: downstream
    ignores lower ones. `cause` says what led to the change: {"event": topic, "comment_id": id}.
    """

    user_id: int
    group_slug: str
    snapshot: Mapping[str, Any] | None
    snapshot_hash: str | None
    previous_hash: str | None
    sequence: int
    cause: Mapping[str, Any]


class Announcer(Protocol):
    """Sends announcements and waits until they are safe. May be called from one thread at a time."""

    def announce(self, announcements: Sequence[Announcement]) -> list[Exception | None]:
        """Send all, wait for every acknowledgement; for each, in order, None or why it was not acknowledged."""
        ...

    def close(self) -> None:
        """Release connections and files."""
        ...

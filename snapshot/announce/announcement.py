"""Telling downstream that a profile changed: `snapshot-changed` on Kafka, else a file of JSON lines."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

import msgspec

from projections.decoding import DecodingError, JsonDecoder

SNAPSHOT_CHANGED = "snapshot-changed"

_Hash = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": "^[0-9a-f]{64}$"})]
_CAUSE = msgspec.Meta(
    extra_json_schema={
        "properties": {
            "event": {"enum": ["comment-created", "comment-deleted", "insight-created", ""]},
            "comment_id": {"type": "integer", "minimum": 0},
        },
        "required": ["event", "comment_id"],
        "additionalProperties": False,
    }
)
_compact = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_ENCODER = msgspec.json.Encoder(order="deterministic")


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one profile's canonical hash; `snapshot` and `snapshot_hash` are None when the profile is gone.

    `sequence` (microseconds of the store's clock, always growing for one profile) orders announcements: downstream
    ignores lower ones. `cause` says what led to the change: {"event": name, "comment_id": id}, where the name is the
    event's topic, "comment-deleted" for a comment that left the profile, or "" (and id 0) where that is not known.
    """

    user_id: Annotated[int, msgspec.Meta(ge=0)]
    group_slug: Annotated[str, msgspec.Meta(min_length=1)]
    snapshot: Mapping[str, Any] | None
    snapshot_hash: _Hash | None
    previous_hash: _Hash | None
    sequence: Annotated[int, msgspec.Meta(ge=1)]
    cause: Annotated[Mapping[str, Any], _CAUSE]


_DECODER = JsonDecoder(Announcement)


def parse(key: bytes | None, value: bytes | None, headers: Mapping[str, bytes]) -> Announcement | None:
    """Read an announcement as it lies in a file (no key, no headers) or on Kafka; None for what is none.

    Without a value, its key and CloudEvents headers say all. Raises nothing.

    >>> parse(b"7:a:b", None, {"ce_sequence": b"3", "ce_cause": b"{}"}).group_slug
    'a:b'
    """
    try:
        if value is not None:
            return _DECODER.decode(value)
        user, _, slug = (key or b"").decode().partition(":")
        named = {"user_id": int(user), "group_slug": slug, "sequence": int(headers["ce_sequence"])}
        before = headers.get("ce_previoushash")
        cause = json.loads(headers["ce_cause"])
        gone = {"snapshot": None, "snapshot_hash": None, "previous_hash": before and before.decode(), "cause": cause}
        return msgspec.convert(named | gone, Announcement)
    except (DecodingError, msgspec.ValidationError, KeyError, ValueError, RecursionError):
        return None


class Announcer(Protocol):
    """Sends announcements and waits until they are safe. May be called from one thread at a time."""

    def announce(self, announcements: Sequence[Announcement]) -> list[Exception | None]:
        """Send all, wait for every acknowledgement; for each, in order, None or why it was not acknowledged."""
        ...

    def close(self) -> None:
        """Release connections and files."""
        ...


def key_of(announcement: Announcement) -> str:
    """Give the announcement's key: all of one profile have the same."""
    return f"{announcement.user_id}:{announcement.group_slug}"


def value_of(announcement: Announcement) -> bytes:
    """Write an announcement as JSON on one line; the same announcement always gives the same bytes."""
    return _ENCODER.encode(announcement)


def cause_of(announcement: Announcement) -> str:
    """Write an announcement's cause alone as JSON, in ASCII."""
    return _compact(announcement.cause)

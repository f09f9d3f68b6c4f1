"""The published document, `SignalProfileSnapshot`: its shape, its hash, and the bytes of its file.

docs/dev/signal_profile_snapshots.md says what each field means.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Self

import msgspec

from projections.decoding import too_deep

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_DATE = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = rf"^{_DATE}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.(?!000000)[0-9]{{6}})?$"
_LEADING = msgspec.Meta(extra_json_schema={"maxItems": 5, "uniqueItems": True})
_KINDS = msgspec.Meta(extra_json_schema={"enum": ["audio", "document", "image", "other", "video"]})

Count = Annotated[int, msgspec.Meta(ge=1)]
Id = Annotated[int, msgspec.Meta(ge=0)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Moment = Annotated[datetime, msgspec.Meta(tz=False, extra_json_schema={"pattern": _TIME})]


class LinkStat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A link in its canonical form, its host, and how often it occurs."""

    url: Text
    domain: Text
    count: Count


class TagStat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A label, and in how many comments it stands."""

    label: Text
    count: Count


class SignalProfileSnapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one user did in one group. Times are UTC without a zone; what is missing is empty, never null."""

    user_id: Id
    group_slug: Text
    message_count: Count
    first_seen_at: Moment
    last_seen_at: Moment
    top_links: Annotated[tuple[LinkStat, ...], _LEADING]
    top_tags: Annotated[tuple[TagStat, ...], _LEADING]
    reaction_counts: dict[Text, Count]
    attachment_counts: dict[Annotated[Text, _KINDS], Count]
    request_ids: Annotated[tuple[Id, ...], msgspec.Meta(extra_json_schema={"minItems": 1, "uniqueItems": True})]

    def __post_init__(self) -> None:
        ascending = tuple(sorted(self.request_ids))
        if ascending != self.request_ids:
            msgspec.structs.force_setattr(self, "request_ids", ascending)

    def to_dict(self) -> dict[str, Any]:
        """The document as plain JSON values: times in ISO form, maps sorted by key, request ids ascending."""
        return {
            "user_id": self.user_id,
            "group_slug": self.group_slug,
            "message_count": self.message_count,
            "first_seen_at": self.first_seen_at.isoformat(),
            "last_seen_at": self.last_seen_at.isoformat(),
            "top_links": [{"url": link.url, "domain": link.domain, "count": link.count} for link in self.top_links],
            "top_tags": [{"label": tag.label, "count": tag.count} for tag in self.top_tags],
            "reaction_counts": dict(sorted(self.reaction_counts.items())),
            "attachment_counts": dict(sorted(self.attachment_counts.items())),
            "request_ids": list(self.request_ids),
        }

    @classmethod
    def from_dict(cls, value: object) -> Self:
        """The snapshot whose `to_dict` is this value.

        Raises ValueError, naming the field, for any other shape; also where the value says the same in another way
        (a time with a zone, ids not ascending, 1.0 for 1), because its hash would not be the snapshot's.
        """
        try:
            snapshot = msgspec.convert(value, cls)
        except (msgspec.ValidationError, RecursionError) as error:
            raise ValueError(f"not a signal profile snapshot: {error}") from error
        given, plain = value if isinstance(value, dict) else {}, snapshot.to_dict()
        if _dumped(given) != _dumped(plain):  # all at once: files are read far more often than one is wrong
            field = next(name for name in plain if _dumped(given.get(name)) != _dumped(plain[name]))
            raise ValueError(
                f"not a signal profile snapshot: {field} is {given.get(field)!r}, and must be {plain[field]!r}"
            )
        return snapshot

    @property
    def snapshot_hash(self) -> str:
        """SHA-256, in hex, of `json.dumps(to_dict(), sort_keys=True)`: the hash that WhiteBalloon itself would give."""
        return sha256(_dumped(self.to_dict()).encode("ascii")).hexdigest()

    def file_bytes(self) -> bytes:
        """The bytes of the file: the dict as JSON in UTF-8, keys sorted, two spaces deep, a newline at the end.

        The same snapshot always gives the same bytes.
        """
        try:
            return msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=2) + b"\n"
        except UnicodeEncodeError:
            # Half of a surrogate pair has no UTF-8; JSON can still escape it.
            text = json.dumps(self.to_dict(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
            return text.encode("utf-8", "backslashreplace")


_dumped = json.JSONEncoder(sort_keys=True).encode


def parse_file(content: bytes) -> SignalProfileSnapshot:
    """Read a snapshot's file. Raises ValueError where the bytes are no JSON, or no snapshot."""
    try:
        # Not msgspec: it refuses the escaped half of a surrogate pair that a file may hold.
        value = None if too_deep(content) else json.loads(content)
    except ValueError as error:
        raise ValueError(f"not a signal profile snapshot: {error}") from error
    return SignalProfileSnapshot.from_dict(value)


def flat(snapshot: Mapping[str, Any] | None) -> dict[str, str]:
    """The fields of a document one by one, each as a text, to be compared and read; a missing one has none.

    >>> flat({"message_count": 2, "reaction_counts": {"x": 1}, "top_tags": [{"label": "a", "count": 3}]})
    {'message_count': '2', 'reaction_counts x': '1', 'top_tags a': '3 (#1)'}
    """
    found: dict[str, str] = {}
    for name, value in (snapshot or {}).items():
        if name in {"top_links", "top_tags"}:
            entries = ((one.get("url", one.get("label")), one["count"]) for one in value)
            found |= {f"{name} {what}": f"{count} (#{rank})" for rank, (what, count) in enumerate(entries, 1)}
        elif isinstance(value, Mapping):
            found |= {f"{name} {what}": str(count) for what, count in value.items()}
        else:
            found[name] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return found


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the document (docs/dev/signal_profile_snapshot.schema.json holds it)."""
    schema = msgspec.json.schema(SignalProfileSnapshot)
    definitions = schema["$defs"]
    body = definitions.pop(SignalProfileSnapshot.__name__)
    return {"$schema": DRAFT, "$id": SignalProfileSnapshot.__name__, **body, "$defs": definitions}

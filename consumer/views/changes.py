"""What an announcement changes of a profile, field by field."""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from snapshot.announce.announcement import Announcement
from snapshot.schema import flat


class FieldChange(msgspec.Struct, frozen=True):
    """One field before and after; null where it was, or is, not there."""

    field: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.field}: {self.after}"
        return f"{self.field}: {self.before} → {'gone' if self.after is None else self.after}"


class Change(msgspec.Struct, frozen=True):
    """One announcement: when (UTC, ISO 8601), and what is now otherwise; `fields` is null where that is not known."""

    time: str
    user_id: int
    group_slug: str
    cause: str
    sequence: int
    snapshot_hash: str | None
    fields: list[FieldChange] | None


def change(one: Announcement, before: Mapping[str, str] | None) -> Change:
    """Compare an announcement with the fields that were known before; None: it is not known what was."""
    after = flat(one.snapshot)
    fields = None
    if before is not None:
        names = dict.fromkeys([*after, *before])
        fields = [
            FieldChange(name, before.get(name), after.get(name))
            for name in names
            if before.get(name) != after.get(name) and name not in {"user_id", "group_slug"}
        ]
    cause = f"{one.cause.get('event')} {one.cause.get('comment_id')}"
    return Change(when(one), one.user_id, one.group_slug, cause, one.sequence, one.snapshot_hash, fields)


def when(one: Announcement) -> str:
    """When it was announced (UTC): its sequence is the store's clock."""
    return datetime.fromtimestamp(one.sequence / 1e6, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def lines(one: Change) -> list[str]:
    """Give the change as lines for people, the first of them its head."""
    head = f"{one.time}  {one.user_id} in {one.group_slug}  by {one.cause}"
    if one.fields is None:
        return [f"{head}: the first that is kept, so what it changed is not known"]
    end = "" if one.snapshot_hash else ": the profile is gone"
    return [head + end, *(f"    {field}" for field in one.fields)]

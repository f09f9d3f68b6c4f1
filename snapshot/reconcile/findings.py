"""What reconciling finds, by profile: missing, orphaned, or different, with the fields that differ. Pure."""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from projections.comments.events import CommentCreated, Event
from projections.profile_key import ProfileKey
from projections.profiles.head import Head
from snapshot.build import build
from snapshot.reconcile.comparison import ProfileComparison

_REPAIRS_KEPT = 16


class Kind(StrEnum):
    """What is wrong with a profile."""

    MISSING = "missing"
    ORPHANED = "orphaned"
    DIFFERENT = "different"


class Repair(NamedTuple):
    """One event that was applied; `comment` tells which half of the register it was for."""

    comment_id: int
    comment: bool
    revision: int


class Finding(NamedTuple):
    """One profile that is not what its rows give.

    `time` is when its rows had been read, in microseconds of the database's clock; `digests` tell two readings apart:
    those of its registers and of its rows, and the sum of the registers' revisions.
    `certain`: aggregates contradict their own registers, so no event that is still to come explains it. `shown`:
    whether the profile was shown before. `repairs` holds the first few.
    """

    key: ProfileKey
    kind: Kind
    fields: tuple[str, ...]
    time: int
    digests: tuple[int, int, int]
    certain: bool
    shown: bool
    repairs: tuple[Repair, ...] = ()


class Repairs:
    """Keeps the first few repairs of each profile."""

    def __init__(self) -> None:
        self._kept: dict[ProfileKey, list[Repair]] = {}

    def add(self, events: Iterable[Event]) -> None:
        """Keep what these applied events repaired."""
        for event in events:
            mine = self._kept.setdefault(ProfileKey(event.user_id, event.group_slug), [])
            if len(mine) < _REPAIRS_KEPT:
                mine.append(Repair(event.comment_id, isinstance(event, CommentCreated), event.revision))

    def of(self, key: ProfileKey) -> tuple[Repair, ...]:
        """Give what is kept of one profile's."""
        return tuple(self._kept.get(key, ()))


def kind_of(compared: ProfileComparison) -> Kind:
    """What is wrong with a stored profile: without any row, it is orphaned."""
    return Kind.ORPHANED if compared.stored.comments and not compared.rows.rows else Kind.DIFFERENT


def differing_fields(key: ProfileKey, before: Head, after: Head | None) -> set[str]:
    """Name the snapshot's fields that a repair changes. A head that is too damaged to be shown names none."""
    try:
        old, new = build(key, before), build(key, after)
    except (IndexError, OverflowError):
        return set()
    if old is None and new is None:
        return set()
    if old is None or new is None:
        return {"message_count"}
    before_fields, after_fields = old.to_dict(), new.to_dict()
    return {name for name, value in before_fields.items() if after_fields[name] != value}


def finding_fields(
    visible: Iterable[str], inconsistent_fields: Iterable[str], compared: ProfileComparison
) -> tuple[str, ...]:
    """All fields of a finding; where the snapshot itself is right, what of the profile is not."""
    fields = {*visible, *inconsistent_fields}
    if not fields:
        fields.add("tombstones" if compared.tombstones == compared.differences else "registers")
    return tuple(sorted(fields))

"""Apply events to the store: load slices, fold them, save the changes; and recompute what the slices can't tell.

One batch is four steps, each one round trip for all its profiles:
1 load the heads and the registers that the events name; 2 load the links and tags that these touch; 3 fold;
4 save. Profiles that another writer changed meanwhile are loaded and folded again.
"""

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from projections.codec import (
    is_link,
    link_field,
    pack_head,
    pack_label,
    read_registers,
    register_field,
    tag_field,
    unpack_head,
    unpack_label,
)
from projections.comments import register as registers_
from projections.comments.events import Event
from projections.comments.register import HalfUpdate, Register, half_of
from projections.profile_key import HIGHEST_ID, ProfileKey, bucket_of
from projections.profiles.fold import Changes, Slice, Transition, advance, touched_labels, transitions
from projections.profiles.head import Head
from projections.recompute import ProfileView, Recomputer
from projections.store.known_profiles import KnownProfiles
from projections.store.protocol import ABSENT, HEAD, Save, Store, Write, is_block

__all__ = ["RULES_VERSION", "Applied", "Fence", "ProfileView", "Projection"]

RULES_VERSION = "2"
"""Version of the rules of meaning. Raise it when the same row would contribute something else than before."""

Updates = Mapping[ProfileKey, Sequence[HalfUpdate]]


class Fence(NamedTuple):
    """What a save of one bucket demands and moves: see `projections.store.protocol.Save`."""

    epoch: int
    intervals: Mapping[str, tuple[int, int]]


class Applied(NamedTuple):
    """What a batch did: the profiles whose content changed, and how many were folded again after a conflict."""

    dirty: frozenset[ProfileKey]
    conflicts: int


class _Part(NamedTuple):
    version: bytes
    part: Slice
    moves: list[Transition]


def _none(_key: ProfileKey) -> bool:
    return False


class Projection:
    """Applies events to a store. `token` makes version tokens: 8 random bytes, never the same twice.

    With `known`, what was written is not loaded again; then `apply` is for one thread.
    """

    def __init__(
        self,
        store: Store,
        token: Callable[[], bytes] = lambda: secrets.token_bytes(8),
        known: KnownProfiles | None = None,
    ) -> None:
        self.store = store
        self._token = token
        self._known = known
        self._profiles: Store | KnownProfiles = store if known is None else known

    def forget(self, empty: Iterable[int] = ()) -> None:
        """Know nothing of any profile but that these buckets hold none."""
        if self._known is not None:
            self._known.forget(empty)

    def apply(
        self,
        events: Iterable[Event],
        fences: Mapping[int, Fence] | None = None,
        absent: Callable[[ProfileKey], bool] | None = None,
    ) -> Applied:
        """Apply events to the store, and move the positions of the fenced buckets.

        Any order and any number of repetitions give the same result. Profiles that the store probably does not
        have (`absent`) are not loaded first; where it has them, that is a conflict like others. Raises
        StoreUnavailableError (some buckets may be saved; apply the same batch again), EpochError, PositionGapError.
        """
        fences = fences or {}
        absent = absent or (_none if self._known is None else self._known.absent)
        pending: Updates = _grouped(events)
        open_buckets = set(fences) | {bucket_of(key.user_id) for key in pending}
        dirty: set[ProfileKey] = set()
        floors: Mapping[int, int] = {}
        conflicts = 0
        while open_buckets:
            writes = self._folded(self._slices(pending, absent), floors)
            absent = _none
            retry = self._save(writes, {bucket: fences.get(bucket) for bucket in open_buckets})
            dirty |= {write.key for write in writes if write.dirty and write.key not in retry}
            conflicts += len(retry)
            open_buckets = {bucket_of(key.user_id) for key in retry}
            # Nearly nobody has a floor, so nobody looks before the store says that something is in the way.
            floors = self.store.floors(open_buckets) if open_buckets else {}
            pending = _above({key: pending[key] for key in retry}, floors)
        return Applied(frozenset(dirty), conflicts)

    def _folded(self, parts: Mapping[ProfileKey, _Part], floors: Mapping[int, int]) -> list[Write]:
        """Step 3."""
        return [
            _write(key, version, self._token(), advance(part, moves), floors.get(key.user_id, 0))
            for key, (version, part, moves) in parts.items()
            if moves
        ]

    def _save(self, writes: Iterable[Write], fences: Mapping[int, Fence | None]) -> set[ProfileKey]:
        """Step 4, for these buckets; the profiles in conflict."""
        by_bucket: dict[int, list[Write]] = {bucket: [] for bucket in sorted(fences)}
        for write in writes:
            by_bucket[bucket_of(write.key.user_id)].append(write)
        saves = [
            Save(bucket, group) if fence is None else Save(bucket, group, fence.epoch, fence.intervals)
            for bucket, group in by_bucket.items()
            if (fence := fences[bucket]) is not None or group
        ]
        return {key for keys in self._profiles.save(saves) for key in keys} if saves else set()

    def _slices(self, updates: Updates, absent: Callable[[ProfileKey], bool]) -> dict[ProfileKey, _Part]:
        """Steps 1 and 2. A profile whose version moved between the two loads is loaded again."""
        parts = {
            key: _Part(ABSENT, Slice(Head(), {}, {}, {}), transitions({}, halves))
            for key, halves in updates.items()
            if absent(key)
        }
        while left := {key: halves for key, halves in updates.items() if key not in parts}:
            first = self._first_load(left)
            labels = {key: _label_fields(part.moves) for key, part in first.items() if part.version != ABSENT}
            labels = {key: names for key, names in labels.items() if names}
            for key, (version, fields) in (self._profiles.load(labels) if labels else {}).items():
                if version == first[key].version:
                    _add_labels(first[key].part, fields)
                else:
                    del first[key]
            parts.update(first)
        return parts

    def _first_load(self, updates: Updates) -> dict[ProfileKey, _Part]:
        names = {key: [HEAD, *{register_field(one.comment_id) for one in halves}] for key, halves in updates.items()}
        parts = {}
        for key, (version, fields) in self._profiles.load(names).items():
            known = read_registers(fields.items())
            head = unpack_head(fields[HEAD]) if HEAD in fields else Head()
            parts[key] = _Part(version, Slice(head, known, {}, {}), transitions(known, updates[key]))
        return parts

    def read_current(self, keys: Iterable[ProfileKey]) -> dict[ProfileKey, ProfileView]:
        """Read heads, recomputed where they need it."""
        found = {}
        for key, (version, fields) in self.store.load(dict.fromkeys(keys, (HEAD,))).items():
            head = unpack_head(fields[HEAD]) if HEAD in fields else None
            found[key] = (
                self.recompute(key) if head is not None and head.needs_recompute() else ProfileView(version, head)
            )
        return found

    def recompute(self, key: ProfileKey) -> ProfileView:
        """Recompute a profile's aggregates from all its registers, and save them: see `projections.recompute`."""
        return Recomputer(self.store, self._token).recompute(key)

    def registers(self, key: ProfileKey) -> dict[int, Register]:
        """Read all registers of a profile, not at one moment while others write."""
        return read_registers(self.store.scan(key))


def _grouped(events: Iterable[Event]) -> dict[ProfileKey, list[HalfUpdate]]:
    grouped: dict[tuple[int, str], list[HalfUpdate]] = defaultdict(list)
    for event in events:
        grouped[event.user_id, event.group_slug].append(half_of(event))
    return {ProfileKey(*key): halves for key, halves in grouped.items()}


def _above(updates: Updates, floors: Mapping[int, int]) -> Updates:
    """Leave out what was read of a forgotten user before that, and all of who is blocked."""
    floor_of = {user: HIGHEST_ID if is_block(floor) else floor for user, floor in floors.items()}
    above = {
        key: [one for one in mine if one.revision > floor_of.get(key.user_id, -1)] for key, mine in updates.items()
    }
    return {key: mine for key, mine in above.items() if mine}


def _write(key: ProfileKey, version: bytes, token: bytes, changes: Changes, floor: int) -> Write:
    sets = {register_field(comment_id): registers_.pack(new) for comment_id, new in changes.registers.items()}
    if not changes.dirty:
        return Write(key, version, token, sets, (), dirty=False, floor=floor)
    sets[HEAD] = pack_head(changes.head)
    deletes = []
    for spell, labels in ((link_field, changes.links), (tag_field, changes.tags)):
        for name, label in labels.items():
            if label is None:
                deletes.append(spell(name))
            else:
                sets[spell(name)] = pack_label(label)
    return Write(key, version, token, sets, deletes, dirty=True, floor=floor)


def _label_fields(moves: Iterable[Transition]) -> list[bytes]:
    links, tags = touched_labels(moves)
    return [*map(link_field, links), *map(tag_field, tags)]


def _add_labels(part: Slice, fields: Mapping[bytes, bytes]) -> None:
    for name, value in fields.items():
        (part.links if is_link(name) else part.tags)[name[1:].decode()] = unpack_label(value)

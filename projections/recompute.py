"""Recompute a profile's aggregates from all its registers, while others go on writing to it.

1 put a token into the head, so that every later save lists the comments that it touches;
2 read all registers and recompute;
3 read the touched registers again, and apply what changed to the recomputed aggregates;
4 save; where another writer was first, back to 3.
A process that finds another's token uses it too: its list of touched comments began earlier, so nothing is missing
from it, and two recomputes never displace each other.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from projections.codec import (
    is_label,
    link_field,
    pack_head,
    pack_label,
    pack_labels,
    read_registers,
    register_field,
    tag_field,
    unpack_head,
)
from projections.comments.register import EMPTY_REGISTER, Register
from projections.profile_key import ProfileKey, bucket_of
from projections.profiles.fold import Slice, Transition, advance, aggregate
from projections.profiles.head import Head
from projections.profiles.ranking import LabelStats
from projections.store.protocol import ABSENT, HEAD, Save, Store, Write


class ProfileView(NamedTuple):
    """A profile as it may be published: recomputed if it had to be. The head is None where there is no profile."""

    version: bytes
    head: Head | None


class Recomputer:
    """Recomputes profiles of a store. `token` makes version tokens, never the same twice."""

    def __init__(self, store: Store, token: Callable[[], bytes]) -> None:
        self._store = store
        self._token = token

    def recompute(self, key: ProfileKey) -> ProfileView:
        """Recompute and save a profile's aggregates, whether they are flagged or not."""
        view = None
        while view is None:
            view = self._attempt(key)
        return view

    def _attempt(self, key: ProfileKey) -> ProfileView | None:
        """All steps; None where they have to begin again."""
        version, head, _ = self._load(key, ())
        if version == ABSENT:
            return ProfileView(ABSENT, None)
        flagged = head.needs_recompute()
        if not head.recomputer:
            head.recomputer, head.touched = self._token().hex(), []
            begin = Write(key, version, self._token(), {HEAD: pack_head(head)}, (), dirty=False, floor=None)
            if not self._save(begin):  # step 1
                return None
        rebuilt = _Rebuilt(self._store.scan(key))  # step 2
        recomputer, reread = head.recomputer, head.touched
        while True:
            version, head, registers = self._load(key, reread)  # step 3
            if head.recomputer != recomputer:
                return ProfileView(version, head) if flagged and not head.needs_recompute() else None
            if set(head.touched) <= set(reread):
                rebuilt.update(registers)
                write = rebuilt.write(key, version, self._token(), head.cause)
                if self._save(write):  # step 4
                    return ProfileView(write.token, rebuilt.head)
            reread = head.touched

    def _load(self, key: ProfileKey, comment_ids: Iterable[int]) -> tuple[bytes, Head, dict[int, Register]]:
        names = [HEAD, *map(register_field, comment_ids)]
        version, fields = self._store.load({key: names})[key]
        head = unpack_head(fields[HEAD]) if HEAD in fields else Head()
        return version, head, read_registers(fields.items())

    def _save(self, write: Write) -> bool:
        return not self._store.save([Save(bucket_of(write.key.user_id), [write])])[0]


class _Rebuilt:
    """A profile's aggregates, recomputed from all its fields and brought up to date as registers change meanwhile.

    Only what changed is recomputed between a load and the save that depends on it, or else a long profile with
    steady traffic would never be saved.
    """

    def __init__(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        found = dict(fields)
        self._labels_before = [name for name in found if is_label(name)]
        self._registers = read_registers(found.items())
        self._recompute()

    def _recompute(self) -> None:
        changes = aggregate(self._registers)
        self.head = changes.head
        self._links = {url: label for url, label in changes.links.items() if label is not None}
        self._tags = {name: label for name, label in changes.tags.items() if label is not None}
        self._packed = pack_labels(self._links, self._tags)

    def update(self, registers: Mapping[int, Register]) -> None:
        """Apply newer registers to the aggregates."""
        moves = [
            Transition(comment_id, self._registers.get(comment_id, EMPTY_REGISTER), registers[comment_id])
            for comment_id in sorted(registers)
        ]
        self._registers.update(registers)
        changes = advance(Slice(self.head, {}, self._links, self._tags), moves)
        if changes.head.needs_recompute():
            self._recompute()
            return
        for url, label in changes.links.items():
            _replace(self._links, self._packed, url, link_field(url), label)
        for name, label in changes.tags.items():
            _replace(self._tags, self._packed, name, tag_field(name), label)

    def write(self, key: ProfileKey, version: bytes, token: bytes, cause: tuple[str, int]) -> Write:
        """The write that replaces all aggregates."""
        self.head.cause = cause
        sets = {HEAD: pack_head(self.head), **self._packed}
        deletes = [name for name in self._labels_before if name not in sets]
        return Write(key, version, token, sets, deletes, dirty=True, floor=None)


def _replace(
    labels: dict[str, LabelStats], packed: dict[bytes, bytes], name: str, field: bytes, label: LabelStats | None
) -> None:
    if label is None:
        labels.pop(name, None)
        packed.pop(field, None)
    else:
        labels[name] = label
        packed[field] = pack_label(label)

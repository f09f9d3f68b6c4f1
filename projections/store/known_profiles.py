"""What a process knows of profiles between two batches, so that it need not load what it wrote itself.

Only whole profiles are known: those that this process created, and that it alone wrote since. A field that is not
known of such a profile is not there. Of any other profile nothing is known, which is not that it is absent.

This saves loads and is never trusted: each save demands the version that is known, and every write of whoever it is
(a rebuild, a recompute, a recovery, another consumer) replaces that by a random token. So what is outdated is a
conflict, and is forgotten, loaded and folded again. An event that changes nothing is not saved and so not checked:
it was applied before, registers only grow, and who removed the profile since read the rows later. Forgotten as well
is what was in a save of which it is not known whether it was done; all of it with a new assignment or epoch.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from projections.profile_key import ProfileKey, bucket_of
from projections.store.protocol import ABSENT, Loaded, Save, Store, Write

MAX_BYTES = 64 * 2**20
"""Of what is kept, roughly, the interpreter's own part included."""

MAX_KEYS = 200_000
"""Profiles of which it is remembered that this process created them, a hash each."""

_FIELD_BYTES = 180
_PROFILE_BYTES = 600


class _KnownProfile:
    """A whole profile: its version, all its fields, and about how many bytes they take."""

    __slots__ = ("fields", "size", "version")

    def __init__(self) -> None:
        self.version = ABSENT
        self.fields: dict[bytes, bytes] = {}
        self.size = _PROFILE_BYTES


class KnownProfiles:
    """Loads and saves profiles of a store, and knows whole ones up to `max_bytes`, those that were written last.

    Used by one thread.
    """

    def __init__(self, store: Store, max_bytes: int = MAX_BYTES, max_keys: int = MAX_KEYS) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._max_keys = max_keys
        self.forget()

    def forget(self, empty: Iterable[int] = ()) -> None:
        """Know nothing any more but that these buckets hold no profile yet."""
        self._profiles: dict[ProfileKey, _KnownProfile] = {}
        self._size = 0
        self._created: set[int] = set()
        self._empty = frozenset(empty)

    def absent(self, key: ProfileKey) -> bool:
        """Whether the store most probably does not have it: its bucket was empty, and nobody created it here since."""
        return bool(self._empty) and bucket_of(key.user_id) in self._empty and hash(key) not in self._created

    def load(self, names: Mapping[ProfileKey, Collection[bytes]]) -> dict[ProfileKey, Loaded]:
        """Read fields of many profiles, each with its version; as `Store.load`."""
        found, left = {}, {}
        for key, wanted in names.items():
            known = self._profiles.get(key)
            if known is None:
                left[key] = wanted
            else:
                fields = known.fields
                found[key] = Loaded(known.version, {name: fields[name] for name in wanted if name in fields})
        return found | self._store.load(left) if left else found

    def save(self, saves: Sequence[Save]) -> list[list[ProfileKey]]:
        """Do the writes, as `Store.save`. Where that raises, nothing is known any more of what they write."""
        before = {write.key: self._pop(write.key) for save in saves for write in save.writes}
        conflicts = self._store.save(saves)
        for save, refused in zip(saves, conflicts, strict=True):
            for write in save.writes:
                if write.key not in refused:
                    self._note(write, before[write.key])
        self._shrink()
        return conflicts

    def _pop(self, key: ProfileKey) -> _KnownProfile | None:
        known = self._profiles.pop(key, None)
        self._size -= 0 if known is None else known.size
        if self._empty:
            self._created.add(hash(key))
            if len(self._created) > self._max_keys:
                self._empty, self._created = frozenset(), set()
        return known

    def _note(self, write: Write, known: _KnownProfile | None) -> None:
        """It was done, on top of this. What the store had not is known as a whole from here on."""
        if write.expected == ABSENT:
            known = _KnownProfile()
        elif known is None or known.version != write.expected:
            return
        fields, before = known.fields, len(known.fields)
        known.size -= _length(map(fields.get, write.sets)) + _length(map(fields.get, write.deletes))
        known.size += _length(write.sets.values())
        fields.update(write.sets)
        for name in write.deletes:
            fields.pop(name, None)
        known.size += _FIELD_BYTES * (len(fields) - before)
        known.version = write.token
        self._profiles[write.key] = known
        self._size += known.size

    def _shrink(self) -> None:
        """Forget those that were written first."""
        while self._size > self._max_bytes:
            self._size -= self._profiles.pop(next(iter(self._profiles))).size


def _length(values: Iterable[bytes | None]) -> int:
    return sum(map(len, filter(None, values)))

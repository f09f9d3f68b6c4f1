"""The store in memory: for tests and for building straight from the database. Same protocol, same contract suite."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from projections.profile_key import BUCKETS, ProfileKey, bucket_of
from projections.store.memory_flush_queue import FlushQueue
from projections.store.memory_leases import MemoryLeases, micros
from projections.store.protocol import (
    ABSENT,
    HEAD,
    Announced,
    BucketState,
    Claim,
    EpochError,
    FlushReading,
    Folder,
    InitialPositions,
    Loaded,
    PositionGapError,
    Published,
    RecoveryGoal,
    Save,
    Settlement,
    Write,
    farthest,
    has_ended,
    is_block,
)


class _Profile:
    __slots__ = ("fields", "version")

    def __init__(self) -> None:
        self.version = ABSENT
        self.fields: dict[bytes, bytes] = {}


class _Folder:
    def __init__(self, group_slug: str | None) -> None:
        self.group_slug = group_slug
        self.flushed_at = 0
        self.queues = [FlushQueue() for _ in range(BUCKETS)]

    def covers(self, key: ProfileKey) -> bool:
        return self.group_slug is None or self.group_slug == key.group_slug

    def queue(self, key: ProfileKey) -> FlushQueue:
        return self.queues[bucket_of(key.user_id)]


class MemoryStore(MemoryLeases):
    """Implements `projections.store.protocol.Store`. `clock` gives microseconds, `debounce` is in seconds."""

    def __init__(self, clock: Callable[[], int], debounce: float = 0.5, instance_id: str = "memory") -> None:
        super().__init__(clock)
        self._debounce = micros(debounce)
        self._instance_id = instance_id
        self._profiles: dict[ProfileKey, _Profile] = {}
        self._states: list[BucketState | None] = [None] * BUCKETS
        self._folders: dict[str, _Folder] = {}
        self._announced: dict[ProfileKey, Announced] = {}
        self._sequences: dict[ProfileKey, int] = {}
        self._floors: dict[int, int] = {}

    def check(self) -> None:
        """Memory is always fit for use."""

    def load(self, names: Mapping[ProfileKey, Collection[bytes]]) -> dict[ProfileKey, Loaded]:
        with self._lock:
            return {key: self._load(key, fields) for key, fields in names.items()}

    def _load(self, key: ProfileKey, fields: Collection[bytes]) -> Loaded:
        profile = self._profiles.get(key)
        if profile is None:
            return Loaded(ABSENT, {})
        return Loaded(profile.version, {name: profile.fields[name] for name in fields if name in profile.fields})

    def save(self, saves: Sequence[Save]) -> list[list[ProfileKey]]:
        with self._lock:
            return [self._save(save) for save in saves]

    def _save(self, save: Save) -> list[ProfileKey]:
        state = self._states[save.bucket]
        if save.epoch is not None and (state is None or state.epoch != save.epoch):
            raise EpochError(save.bucket, save.epoch, None if state is None else state.epoch)
        positions = {} if state is None else state.positions
        for partition, (start, _) in save.intervals.items():
            stored = positions.get(partition)
            if stored is None or stored < start:
                raise PositionGapError(save.bucket, partition, stored, start)
        conflicts = [write.key for write in save.writes if not self._write(write)]
        if not conflicts:
            further = {name: end for name, (_, end) in save.intervals.items() if end > positions[name]}
            self._count_writes(save.bucket, len(further), further)
        return conflicts

    def _count_writes(self, bucket: int, writes: int, positions: Mapping[str, int] | None = None) -> None:
        """Count them in the bucket's state, with the positions that they reach."""
        state = self._states[bucket]
        if state is not None and writes:
            positions = {**state.positions, **positions} if positions else state.positions
            self._states[bucket] = replace(state, writes=state.writes + writes, positions=positions)

    def _write(self, write: Write) -> bool:
        profile = self._profiles.get(write.key)
        version = ABSENT if profile is None else profile.version
        if version == write.token:
            return True
        if version != write.expected or write.floor not in (None, self._floors.get(write.key.user_id, 0)):
            return False
        profile = self._profiles.setdefault(write.key, _Profile())
        profile.version = write.token
        profile.fields.update(write.sets)
        for name in write.deletes:
            profile.fields.pop(name, None)
        self._count_writes(bucket_of(write.key.user_id), 1)
        if write.dirty:
            for folder in self._folders.values():
                if folder.covers(write.key):
                    folder.queue(write.key).sooner(write.key, self._clock() + self._debounce)
        return True

    def scan(self, key: ProfileKey) -> Iterator[tuple[bytes, bytes]]:
        with self._lock:
            profile = self._profiles.get(key)
            return iter([] if profile is None else list(profile.fields.items()))

    def profiles(self, first_user: int, last_user: int) -> list[ProfileKey]:
        with self._lock:
            return sorted(key for key in self._profiles if first_user <= key.user_id <= last_user)

    def load_range(self, first_user: int, last_user: int, field: bytes) -> Iterator[tuple[ProfileKey, bytes | None]]:
        found = self.load(dict.fromkeys(self.profiles(first_user, last_user), (field,)))
        return iter([(key, loaded.fields.get(field)) for key, loaded in found.items()])

    def remove(self, key: ProfileKey, version: bytes) -> bool:
        with self._lock:
            profile = self._profiles.get(key)
            if profile is not None and profile.version != version:
                return False
            self._count_writes(bucket_of(key.user_id), profile is not None)
            self._profiles.pop(key, None)
            idle = [queue for folder in self._folders.values() if not (queue := folder.queue(key)).pending(key)]
            for queue in idle:
                queue.forget(key)
            if len(idle) == len(self._folders):
                self._announced.pop(key, None)
                self._sequences.pop(key, None)
            return True

    def floors(self, buckets: Iterable[int]) -> dict[int, int]:
        with self._lock:
            asked = frozenset(buckets)
            return {user: floor for user, floor in self._floors.items() if bucket_of(user) in asked}

    def raise_floor(self, user_id: int, floor: int) -> None:
        with self._lock:
            present = self._floors.get(user_id, 0)
            if floor > present and not (is_block(floor) and has_ended(floor, present)):
                self._floors[user_id] = floor
                self._count_writes(bucket_of(user_id), 1)

    def end_block(self, user_id: int, floor: int) -> bool:
        with self._lock:
            if not is_block(self._floors.get(user_id)):
                return False
            self._floors[user_id] = floor
            self._count_writes(bucket_of(user_id), 1)
            return True

    def bucket_states(self) -> list[BucketState | None]:
        with self._lock:
            return list(self._states)

    def initialize(self, origin: InitialPositions) -> None:
        with self._lock:
            for bucket, state in enumerate(self._states):
                initialized = state or self._initial_state(origin.rules_version)
                self._states[bucket] = replace(
                    initialized,
                    positions={**origin.positions, **initialized.positions},
                    topic_ids={**origin.topic_ids, **initialized.topic_ids},
                )

    def _initial_state(self, rules_version: str) -> BucketState:
        return BucketState(
            self._instance_id, epoch=0, rules_version=rules_version, writes=0, positions={}, topic_ids={}, recovery=None
        )

    def raise_epoch(
        self, bucket: int, seen: int | None, recovery: RecoveryGoal, origin: InitialPositions, above: int = 0
    ) -> bool:
        with self._lock:
            state = self._states[bucket]
            if (None if state is None else state.epoch) != seen:
                return False
            state = state or self._initial_state(origin.rules_version)
            self._states[bucket] = BucketState(
                state.instance_id,
                epoch=max(1 + max(seen or 0, above), self._clock()),
                rules_version=origin.rules_version,
                writes=state.writes + 1,
                positions={**state.positions, **origin.positions},
                topic_ids={**state.topic_ids, **origin.topic_ids},
                recovery=recovery,
            )
            return True

    def recover(self, bucket: int, seen: BucketState, left: RecoveryGoal | None) -> bool:
        with self._lock:
            state = self._states[bucket]
            if state is None or (state.epoch, state.recovery) != (seen.epoch, seen.recovery):
                return False
            if left is not None and state.recovery is None:
                return False
            self._states[bucket] = replace(state, recovery=left)
            return True

    def add_folder(self, folder: Folder) -> bool:
        with self._lock:
            new = folder.id not in self._folders
            known = self._folders.setdefault(folder.id, _Folder(folder.group_slug))
            known.flushed_at = self._clock()
            if not new:
                return False
            for key in self._profiles:
                if known.covers(key):
                    known.queue(key).sooner(key, self._clock())
            return True

    def folders(self) -> list[Folder]:
        with self._lock:
            return [Folder(name, folder.group_slug) for name, folder in self._folders.items()]

    def pending(self, folder: str, keys: Sequence[ProfileKey]) -> list[bool]:
        with self._lock:
            return [self._queue(folder, key).pending(key) for key in keys]

    def drop_folders(self, seconds: float) -> list[str]:
        with self._lock:
            until = self._clock() - micros(seconds)
            old = sorted(name for name, folder in self._folders.items() if folder.flushed_at <= until)
            for name in old:
                del self._folders[name]
            return old

    def _queue(self, folder: str, key: ProfileKey) -> FlushQueue:
        return self._queues(folder)[bucket_of(key.user_id)]

    def _queues(self, folder: str) -> list[FlushQueue]:
        """The folder's queues; those of a folder that was not added are empty, and forgotten."""
        return (self._folders.get(folder) or _Folder(None)).queues

    def next_due(self, folder: str) -> list[int | None]:
        with self._lock:
            return [queue.next() for queue in self._queues(folder)]

    def count_due(self, folder: str) -> int:
        with self._lock:
            return sum(queue.count() for queue in self._queues(folder))

    def claim(self, folder: str, buckets: Iterable[int], limit: int, seconds: float, token: str) -> list[Claim]:
        with self._lock:
            now, queues, claims = self._clock(), self._queues(folder), []
            end, far = now + micros(seconds), now + micros(farthest(self._debounce / 1e6, seconds))
            for bucket in buckets:
                state = self._states[bucket]
                recovery = state is not None and state.recovery is not None
                claims += queues[bucket].claim(now, limit, end, token, far=far, recovery=recovery)
            return claims

    def read(self, folder: str, claims: Sequence[Claim]) -> list[FlushReading]:
        with self._lock:
            return [self._read(self._queue(folder, claim.key), claim.key) for claim in claims]

    def _read(self, queue: FlushQueue, key: ProfileKey) -> FlushReading:
        sequence = self._sequences[key] = max(self._clock(), self._sequences.get(key, 0) + 1)
        version, fields = self._load(key, (HEAD,))
        return FlushReading(version, fields.get(HEAD), queue.settled.get(key), self._announced.get(key), sequence)

    def settle(self, folder: str, token: str, settlements: Sequence[Settlement], seconds: float) -> None:
        with self._lock:
            now = self._clock()
            for one in settlements:
                key = one.claim.key
                queue = self._queue(folder, key)
                if queue.holds(token, key):
                    self._settle(queue, one, now, now + micros(seconds))
                elif one.published and self._sequences.get(key) not in (None, one.reading.sequence):
                    queue.force(key, now)

    def _settle(self, queue: FlushQueue, one: Settlement, now: int, forced_from: int) -> None:
        key, stored = one.claim.key, self._announced.get(one.claim.key)
        announced = one.published == Published.ANNOUNCEMENT
        overtaken = announced and stored != one.reading.announced and (stored is None or stored.hash != one.hash)
        if stored is None or (announced and one.reading.sequence >= stored.sequence):
            self._announced[key] = Announced(one.hash, one.reading.sequence if announced else 0)
        if overtaken:
            queue.force(key, now)
        version = self._load(key, ()).version
        queue.settle(one, now, None if version == one.reading.version else now + self._debounce, forced_from)
        if version == ABSENT and not one.hash:
            queue.settled.pop(key)
            self._announced.pop(key)

    def defer(self, folder: str, token: str, claims: Sequence[Claim], seconds: float) -> None:
        with self._lock:
            now = self._clock()
            for claim in claims:
                queue = self._queue(folder, claim.key)
                if queue.holds(token, claim.key):
                    queue.defer(claim, now, now + micros(seconds))

    def force(self, folder: str, keys: Sequence[ProfileKey]) -> None:
        with self._lock:
            for key in keys:
                self._queue(folder, key).force(key, self._clock())

    def settled(self, folder: str, keys: Sequence[ProfileKey]) -> list[str | None]:
        with self._lock:
            return [self._queue(folder, key).settled.get(key) for key in keys]

    def recheck(self, folder: str, keys: Sequence[ProfileKey]) -> None:
        with self._lock:
            for key in keys:
                self._queue(folder, key).recheck(key, self._clock())

    def close(self) -> None:
        """Nothing to release."""

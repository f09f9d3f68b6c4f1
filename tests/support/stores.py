"""Stores under test: the one in memory with a clock of its own, and the one in Redis with real, short waits."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from projections.profile_key import ProfileKey, bucket_of
from projections.store.memory import MemoryStore
from projections.store.protocol import (
    BucketState,
    Claim,
    FlushReading,
    Folder,
    InitialPositions,
    Loaded,
    Published,
    RecoveryGoal,
    Save,
    Settlement,
    Store,
    Write,
)
from projections.store.redis.store import RedisStore, connect

NOW, NEVER = 0.0, 500.0
"""Seconds that have passed at once, and seconds that don't pass in a test: so nothing depends on a machine's speed."""


ANN = ProfileKey(1, "lions")
BEN = ProfileKey(1, "tigers")
CEM = ProfileKey(2, "lions")
BUCKET = bucket_of(1)
FOLDER = Folder("17ab", None)
ORIGIN = InitialPositions({"comment-created/0": 10}, {"comment-created": "topic-1"}, "1")
RECOVERY = RecoveryGoal({"comment-created/0": 50}, reconcile=True, reason="a restart with a cut file")
EVERYTHING = 2**63 - 1
AWKWARD = ("a:b", "a;b", "a=b", "*", "%2A", "two words", "line\nbreak", "ünï 🦁", "'\"\\", "nul\0", "../../etc", "1:")
"""Group slugs that a careless spelling would break on."""


class Bench(NamedTuple):
    """A kind of store. `open(debounce)` opens the data, `fresh()` empties them first, `wait(seconds)` lets time pass.

    `examples` is how many of a property test it can bear.
    """

    open: Callable[[float], Store]
    fresh: Callable[[], Store]
    wait: Callable[[float], None]
    examples: int


class Passing:
    """Hands everything on to a store; what a subclass overrides happens in its place."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def load(self, wanted: Mapping[ProfileKey, Collection[bytes]]) -> dict[ProfileKey, Loaded]:
        return self._store.load(wanted)

    def save(self, saves: Sequence[Save]) -> list[list[ProfileKey]]:
        return self._store.save(saves)

    def scan(self, key: ProfileKey) -> Iterator[tuple[bytes, bytes]]:
        return self._store.scan(key)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  the rest of the store as it is
        return getattr(self._store, name)

    def as_store(self) -> Store:
        return cast("Store", self)


class Clock:
    """Microseconds that pass when asked, and one at each look."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000_000

    def __call__(self) -> int:
        self.now += 1
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += int(seconds * 1e6)


def memory_bench() -> Bench:
    clock = Clock()
    return Bench(lambda debounce: MemoryStore(clock, debounce), lambda: MemoryStore(clock, NOW), clock.wait, 200)


def redis_bench(url: str) -> Bench:
    client = connect(url)

    def fresh() -> Store:
        client.flushdb()
        return RedisStore(client, NOW, url)

    return Bench(lambda debounce: RedisStore(client, debounce, url), fresh, time.sleep, 20)


def write(  # noqa: PLR0913  the fields of Write
    key: ProfileKey,
    expected: bytes,
    token: bytes,
    sets: Mapping[bytes, bytes] | None = None,
    deletes: Sequence[bytes] = (),
    *,
    dirty: bool = True,
) -> Write:
    return Write(key, expected, token, sets or {b"h": b"head of " + token}, deletes, dirty)


def save(store: Store, *writes: Write) -> list[ProfileKey]:
    """Save to one bucket; the profiles in conflict."""
    (conflicts,) = store.save([Save(bucket_of(writes[0].key.user_id), writes)])
    return conflicts


def settlement(  # what was read, as far as settling asks for it
    one: Claim, version: bytes, hash_: str, published: Published = Published.NOTHING, *, sequence: int = 0
) -> Settlement:
    return Settlement(one, FlushReading(version, None, None, None, sequence), hash_, published)


def claim(store: Store, folder: Folder, seconds: float = NEVER, who: str = "claim") -> list[Claim]:
    return store.claim(folder.id, range(64), 1000, seconds, who)


def fenced(end: int, start: int = 10, epoch: int | None = 0, partition: str = "comment-created/0") -> Save:
    """A save of a position alone."""
    return Save(BUCKET, [], epoch, {partition: (start, end)})


def state(store: Store, bucket: int = BUCKET) -> BucketState:
    found = store.bucket_states()[bucket]
    assert found is not None
    return found


def keys(claims: list[Claim]) -> set[ProfileKey]:
    return {one.key for one in claims}

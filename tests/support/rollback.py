"""A store that falls back to what it was, as after a restart with a cut append-only file."""

import copy
from collections.abc import Callable

from projections.store.memory import MemoryStore
from projections.store.protocol import Store
from projections.store.redis.store import RedisStore

_KEPT = ("_lock", "_clock")


def keep(store: Store) -> Callable[[], None]:
    """Remember all that the store holds; the function given back puts it there again, as often as it is called."""
    if isinstance(store, MemoryStore):
        return _keep_memory(store)
    assert isinstance(store, RedisStore)
    return _keep_redis(store)


def _keep_memory(store: MemoryStore) -> Callable[[], None]:
    def content() -> dict[str, object]:
        return {name: value for name, value in vars(store).items() if name not in _KEPT}

    kept = copy.deepcopy(content())
    return lambda: vars(store).update(copy.deepcopy(kept))


def _keep_redis(store: RedisStore) -> Callable[[], None]:
    client = store._client  # noqa: SLF001  the very database
    kept = {key: (client.dump(key), client.pexpiretime(key)) for key in client.scan_iter(count=1000)}

    def restore() -> None:
        client.flushdb()
        pipeline = client.pipeline(transaction=False)
        for key, (value, expires) in kept.items():
            if value is not None:
                pipeline.restore(key, max(0, expires), value, absttl=expires > 0)
        pipeline.execute()

    return restore

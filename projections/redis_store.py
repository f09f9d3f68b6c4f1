"""The store in Redis: see `projections.store` for the protocol, `lua/` for what is done in one step."""

import redis

from projections import redis_client
from projections.buckets import BUCKETS
from projections.redis_client import connect
from projections.redis_leases import RedisLeases
from projections.redis_marks import RedisMarks
from projections.redis_profiles import RedisProfiles
from projections.redis_queue import RedisQueue
from projections.redis_scripts import ask

__all__ = ["RedisStore", "connect"]


class RedisStore(RedisProfiles, RedisMarks, RedisQueue, RedisLeases):
    """Implements `projections.store.Store` on one Redis. `debounce` is in seconds; `url` is what messages name."""

    def __init__(self, client: redis.Redis, debounce: float = 0.5, url: str = "REDIS_URL") -> None:
        self._client = client
        self._debounce_ms = int(debounce * 1000)
        self._url = redis_client.without_password(url)
        self._folders = [""] * BUCKETS

    def check(self) -> None:
        """Raise OperatorError for a Redis that is away, refuses us, is too old, or would throw keys away."""
        redis_client.check(self._client, self._url)

    def clock(self) -> int:
        """See the protocol."""
        seconds, micros = ask(self._client, [("TIME",)])[0]
        return int(seconds) * 1_000_000 + int(micros)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

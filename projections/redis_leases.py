"""Named leases, and the small documents that belong to them, in Redis."""

import redis

from projections import buckets as b
from projections.redis_scripts import Call, ask, run


class RedisLeases:
    """Implements `lease` to `put_document` of `projections.store.Store`."""

    _client: redis.Redis

    def lease(self, name: str, token: str, seconds: float) -> bool:
        """See the protocol."""
        return bool(run(self._client, [Call("lease", [b.lease_key(name)], [token, int(seconds * 1000)])])[0])

    def release(self, name: str, token: str) -> None:
        """See the protocol."""
        run(self._client, [Call("release", [b.lease_key(name)], [token])])

    def leased(self, name: str) -> bool:
        """See the protocol."""
        return bool(ask(self._client, [("EXISTS", b.lease_key(name))])[0])

    def document(self, name: str) -> bytes | None:
        """See the protocol."""
        found: bytes | None = ask(self._client, [("GET", b.document_key(name))])[0]
        return found

    def put_document(self, name: str, token: str, value: bytes) -> bool:
        """See the protocol."""
        keys = [b.lease_key(name), b.document_key(name)]
        return bool(run(self._client, [Call("put_document", keys, [token, value])])[0])

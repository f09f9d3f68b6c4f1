"""The buckets' marks in Redis."""

import secrets
from collections.abc import Mapping

import msgspec
import redis

from projections import buckets as b
from projections.redis_scripts import Argument, Call, ask, run
from projections.store import Healing, Mark, Origin

_ALL = range(b.BUCKETS)


class RedisMarks:
    """Implements `marks` to `heal` of `projections.store.Store`."""

    _client: redis.Redis

    def marks(self) -> list[Mark | None]:
        """See the protocol."""
        return [_mark(pairs) for pairs in ask(self._client, [("HGETALL", b.mark_key(bucket)) for bucket in _ALL])]

    def bear(self, origin: Origin) -> None:
        """See the protocol."""
        arguments = [secrets.token_hex(8), origin.meaning, *_flat(origin)]
        run(self._client, [Call("bear", [b.mark_key(bucket)], arguments) for bucket in _ALL])

    def raise_epoch(self, bucket: int, seen: int | None, healing: Healing, origin: Origin) -> bool:
        """See the protocol."""
        before, after = ("", 1) if seen is None else (str(seen), seen + 1)
        arguments = [before, after, secrets.token_hex(8), origin.meaning, msgspec.json.encode(healing), *_flat(origin)]
        return bool(run(self._client, [Call("raise_epoch", [b.mark_key(bucket)], arguments)])[0])

    def heal(self, bucket: int, epoch: int, healing: Healing | None) -> bool:
        """See the protocol."""
        left = b"" if healing is None else msgspec.json.encode(healing)
        return bool(run(self._client, [Call("heal", [b.mark_key(bucket)], [epoch, left])])[0])


def _mark(fields: Mapping[bytes, bytes]) -> Mark | None:
    if b"birth" not in fields:
        return None
    named = {name.decode(): value for name, value in fields.items()}
    return Mark(
        birth=named["birth"].decode(),
        epoch=int(named["epoch"]),
        meaning=named["meaning"].decode(),
        writes=int(named.get("writes", b"0")),
        positions={name[2:]: int(value) for name, value in named.items() if name.startswith("p:")},
        topic_ids={name[2:]: value.decode() for name, value in named.items() if name.startswith("t:")},
        healing=msgspec.json.decode(named["healing"], type=Healing) if "healing" in named else None,
    )


def _flat(origin: Origin) -> list[Argument]:
    flat = [item for pairs in (origin.positions, origin.topic_ids) for pair in pairs.items() for item in pair]
    return [len(origin.positions), *flat]

"""What there is to flush, in Redis: due times, claims, and the hashes of what was flushed."""

from collections.abc import Iterable, Sequence
from itertools import groupby

import redis

from projections.profile_key import BUCKETS, ProfileKey, bucket_of, member, parse_member
from projections.store import keys as k
from projections.store.protocol import ABSENT, Announced, Claim, FlushReading, Folder, Settlement, farthest
from projections.store.redis import folders as folders_
from projections.store.redis.scripts import Argument, Call, ask, run

_ALL = range(BUCKETS)
_PLAIN, _FORCED, _TAKEN_OVER = 0, 1, 2
_CHUNK = 400


class RedisFlushQueue:
    """The part of the store from `add_folder` to `recheck`; a subclass gives the client and the debounce."""

    _client: redis.Redis
    _debounce_ms: int

    def clock(self) -> int:
        seconds, micros = ask(self._client, [("TIME",)])[0]
        return int(seconds) * 1_000_000 + int(micros)

    def add_folder(self, folder: Folder) -> bool:
        ask(self._client, [("ZADD", k.flushed_key(), self.clock(), folder.id)])  # first, or it might be dropped at once
        arguments = [folders_.spell_id(folder), folders_.spell(folder), folder.group_slug or ""]
        calls = [
            Call("add_folder", [k.state_key(bucket), k.index_key(bucket), k.due_key(bucket, folder.id)], arguments)
            for bucket in _ALL
        ]
        return any(run(self._client, calls))

    def folders(self) -> list[Folder]:
        spelled = ask(self._client, [("HGET", k.state_key(bucket), "folders") for bucket in _ALL])
        return list({found: None for text in spelled if text for found in folders_.parse(text.decode())})

    def pending(self, folder: str, keys: Sequence[ProfileKey]) -> list[bool]:
        queues = (k.due_key, k.leases_key)
        commands = [("ZSCORE", queue(bucket_of(key.user_id), folder), member(key)) for key in keys for queue in queues]
        scores = ask(self._client, commands)
        return [due is not None or lease is not None for due, lease in zip(scores[::2], scores[1::2], strict=True)]

    def drop_folders(self, seconds: float) -> list[str]:
        now = self.clock()
        notes = [("ZADD", k.flushed_key(), "NX", now, folder.id) for folder in self.folders()]
        asked = ("ZRANGEBYSCORE", k.flushed_key(), "-inf", now - int(seconds * 1e6))
        old = sorted(name.decode() for name in ask(self._client, [*notes, asked])[-1])
        for name in old:
            arguments = [folders_.spell_id(Folder(name, None))]
            keys = [[k.state_key(bucket), *k.folder_keys(bucket, name)] for bucket in _ALL]
            run(self._client, [Call("drop_folder", mine, arguments) for mine in keys])
            ask(self._client, [("ZREM", k.flushed_key(), name)])
        return old

    def next_due(self, folder: str) -> list[int | None]:
        calls = [Call("next_due", k.folder_keys(bucket, folder)[:2], ()) for bucket in _ALL]
        return [None if score is None else int(float(score) * 1000) for score in run(self._client, calls)]

    def count_due(self, folder: str) -> int:
        return sum(ask(self._client, [("ZCARD", k.due_key(bucket, folder)) for bucket in _ALL]))

    def claim(self, folder: str, buckets: Iterable[int], limit: int, seconds: float, token: str) -> list[Claim]:
        calls = []
        for bucket in buckets:
            due, leases, tokens, force, _ = k.folder_keys(bucket, folder)
            keys = [k.state_key(bucket), due, leases, tokens, force, k.claim_key(bucket, folder, token)]
            far = _millis(farthest(self._debounce_ms / 1000, seconds))
            calls.append(Call("claim", keys, [token, limit, _millis(seconds), far]))
        pairs = (pair for reply in run(self._client, calls) for pair in zip(reply[::2], reply[1::2], strict=True))
        return [Claim(parse_member(name), flags == _FORCED, flags == _TAKEN_OVER) for name, flags in pairs]

    def read(self, folder: str, claims: Sequence[Claim]) -> list[FlushReading]:
        groups = _by_bucket([claim.key for claim in claims])
        calls = []
        for bucket, keys in groups:
            hashes = [k.settled_key(bucket, folder), k.announced_key(bucket), k.sequence_key(bucket)]
            calls.append(Call("read", [*hashes, *map(k.profile_key, keys)], [*map(member, keys)]))
        found = {}
        for (_, keys), reply in zip(groups, run(self._client, calls), strict=True):
            for index, key in enumerate(keys):
                found[key] = _reading(reply[5 * index : 5 * index + 5])
        return [found[claim.key] for claim in claims]

    def settle(self, folder: str, token: str, settlements: Sequence[Settlement], seconds: float) -> None:
        by_key = {one.claim.key: one for one in settlements}
        calls = []
        for bucket, keys in _by_bucket(by_key):
            arguments: list[Argument] = [token, self._debounce_ms, _millis(seconds)]
            for key in keys:
                arguments += _settlement_arguments(by_key[key])
            names = [*k.folder_keys(bucket, folder), k.announced_key(bucket), k.sequence_key(bucket)]
            calls.append(Call("settle", [*names, *map(k.profile_key, keys)], arguments))
        run(self._client, calls)

    def defer(self, folder: str, token: str, claims: Sequence[Claim], seconds: float) -> None:
        flags = {claim.key: _flags(claim) for claim in claims}
        calls = []
        for bucket, keys in _by_bucket(flags):
            members = [item for key in keys for item in (member(key), flags[key])]
            calls.append(Call("defer", k.folder_keys(bucket, folder)[:4], [token, _millis(seconds), *members]))
        run(self._client, calls)

    def force(self, folder: str, keys: Sequence[ProfileKey]) -> None:
        calls = []
        for bucket, mine in _by_bucket(keys):
            names = [k.due_key(bucket, folder), k.force_key(bucket, folder)]
            calls.append(Call("force", names, [*map(member, mine)]))
        run(self._client, calls)

    def settled(self, folder: str, keys: Sequence[ProfileKey]) -> list[str | None]:
        commands = [("HGET", k.settled_key(bucket_of(key.user_id), folder), member(key)) for key in keys]
        return [_text(value) for value in ask(self._client, commands)]

    def recheck(self, folder: str, keys: Sequence[ProfileKey]) -> None:
        calls = []
        for bucket, mine in _by_bucket(keys):
            due, leases, _, force, settled = k.folder_keys(bucket, folder)
            calls.append(Call("recheck", [due, settled, leases, force], [*map(member, mine)]))
        run(self._client, calls)


def _millis(seconds: float) -> int:
    return int(seconds * 1000)


def _flags(claim: Claim) -> int:
    return _TAKEN_OVER if claim.taken_over else _FORCED if claim.forced else _PLAIN


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _reading(fields: Sequence[bytes | None]) -> FlushReading:
    version, head, settled, announced, sequence = fields
    return FlushReading(version or ABSENT, head, _text(settled), _announced(announced), int(sequence or b"0"))


def _announced(stored: bytes | None) -> Announced | None:
    """A hash and its sequence; older versions left an empty text where they had only begun to announce."""
    if not stored:
        return None
    text, _, sequence = stored.decode().rpartition(" ")
    return Announced(text, int(sequence))


def _settlement_arguments(one: Settlement) -> list[Argument]:
    """One profile's part of the arguments of settle.lua."""
    reading = one.reading
    announced = "" if reading.announced is None else "{} {}".format(*reading.announced)
    flags, sequence = _flags(one.claim), str(reading.sequence)
    return [member(one.claim.key), reading.version, flags, one.hash, int(one.published), sequence, announced]


def _by_bucket(keys: Iterable[ProfileKey]) -> list[tuple[int, list[ProfileKey]]]:
    """By bucket, and no more at once than the scripts hand to one command."""

    def bucket(key: ProfileKey) -> int:
        return bucket_of(key.user_id)

    groups = [(number, list(mine)) for number, mine in groupby(sorted(keys, key=bucket), key=bucket)]
    return [(number, mine[at : at + _CHUNK]) for number, mine in groups for at in range(0, len(mine), _CHUNK)]

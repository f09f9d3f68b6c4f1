"""The store in Redis: see `projections.store.protocol` for the protocol, `lua/` for what is done in one step."""

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import redis

from projections.decoding import JsonDecoder
from projections.masking import mask
from projections.profile_key import BUCKETS, ProfileKey, bucket_of, member, parse_member
from projections.store import keys as k
from projections.store.protocol import (
    ABSENT,
    BLOCK,
    BucketState,
    Description,
    EpochError,
    InitialPositions,
    Loaded,
    PositionGapError,
    RecoveryGoal,
    Save,
    Write,
    is_block,
    time_of_block,
)
from projections.store.redis import client as redis_client
from projections.store.redis import folders as folders_
from projections.store.redis.client import connect
from projections.store.redis.flush_queue import RedisFlushQueue
from projections.store.redis.scripts import Argument, Call, ask, run

__all__ = ["RedisStore", "connect"]


_SCAN_PAGE = 1000
_RANGE_PAGE = 200
"""Of each bucket in one call: a millisecond of the server's time."""
_decode_goal = JsonDecoder(RecoveryGoal).decode
_ALL = range(BUCKETS)


class RedisStore(RedisFlushQueue):
    """Implements the protocol on one Redis. `debounce` is in seconds; `url` is what messages name."""

    def __init__(self, client: redis.Redis, debounce: float = 0.5, url: str = "REDIS_URL") -> None:
        self._client = client
        self._debounce_ms = int(debounce * 1000)
        self._url = mask(url)
        self._read_states: list[tuple[Mapping[bytes, bytes], BucketState | None]] = [({}, None)] * BUCKETS
        self._folders = [""] * BUCKETS  # each bucket's, as its state spells them and as far as this process knows

    def check(self) -> None:
        redis_client.check(self._client, self._url)
        self.release("check", "")  # scripts can be run

    def server(self) -> str:
        """Name the server and its version."""
        return redis_client.server(self._client)

    def rewrite_log(self) -> None:
        """Have what was overwritten go from the append-only file, too."""
        redis_client.rewrite_log(self._client)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def load(self, names: Mapping[ProfileKey, Collection[bytes]]) -> dict[ProfileKey, Loaded]:
        replies = ask(self._client, [("HMGET", k.profile_key(key), b"v", *fields) for key, fields in names.items()])
        loaded = {}
        for (key, fields), (version, *values) in zip(names.items(), replies, strict=True):
            present = {name: value for name, value in zip(fields, values, strict=True) if value is not None}
            loaded[key] = Loaded(version or ABSENT, present)
        return loaded

    def save(self, saves: Sequence[Save]) -> list[list[ProfileKey]]:
        replies = self._run_with_folders([save.bucket for save in saves], lambda index: self._save_call(saves[index]))
        return [_conflicts(save, reply) for save, reply in zip(saves, replies, strict=True)]

    def _run_with_folders(self, buckets: Sequence[int], call: Callable[[int], Call]) -> list[Any]:
        """Run the calls 0, 1, .. on these buckets; again where a bucket has other folders than this process knew."""
        replies: list[Any] = [None] * len(buckets)
        left = list(range(len(buckets)))
        while left:
            for index, reply in zip(left, run(self._client, [call(index) for index in left]), strict=True):
                replies[index] = reply
            left = [index for index in left if replies[index][0] == b"folders"]
            for index in left:
                self._folders[buckets[index]] = replies[index][1].decode()
        return replies

    def _save_call(self, save: Save) -> Call:
        spelled = self._folders[save.bucket]
        folders = folders_.parse(spelled)
        keys = [k.state_key(save.bucket), k.index_key(save.bucket), k.floors_key(save.bucket)]
        keys += [k.due_key(save.bucket, folder.id) for folder in folders]
        arguments: list[Argument] = ["" if save.epoch is None else save.epoch, spelled, self._debounce_ms]
        arguments += [len(folders), len(save.intervals)]
        for partition, (start, end) in save.intervals.items():
            arguments += [partition, start, end]
        for write in save.writes:
            keys.append(k.profile_key(write.key))
            due = folders_.due_in(folders, write.key.group_slug) if write.dirty else ""
            arguments += _write_arguments(write, due)
        return Call("save", keys, arguments)

    def scan(self, key: ProfileKey) -> Iterator[tuple[bytes, bytes]]:
        cursor, name = b"0", k.profile_key(key)
        while True:
            cursor, page = ask(self._client, [("HSCAN", name, cursor, "COUNT", _SCAN_PAGE)])[0]
            yield from ((field, value) for field, value in page.items() if field != b"v")
            if int(cursor) == 0:
                return

    def profiles(self, first_user: int, last_user: int) -> list[ProfileKey]:
        # Scores are doubles: above 2^53 they give neighbours too.
        ranges = [("ZRANGEBYSCORE", k.index_key(bucket), first_user, last_user) for bucket in range(BUCKETS)]
        found = [parse_member(text) for members in ask(self._client, ranges) for text in members]
        return sorted(key for key in found if first_user <= key.user_id <= last_user)

    def load_range(self, first_user: int, last_user: int, field: bytes) -> Iterator[tuple[ProfileKey, bytes | None]]:
        left, offset = list(_ALL), 0
        while left:
            limits = (first_user, last_user, offset, _RANGE_PAGE)
            calls = [
                Call("load_range", [k.index_key(bucket)], [k.profile_prefix(bucket), field, *limits]) for bucket in left
            ]
            replies = run(self._client, calls)
            for reply in replies:
                for text, value in zip(reply[::2], reply[1::2], strict=True):
                    key = parse_member(text)
                    if first_user <= key.user_id <= last_user:  # see `profiles`
                        yield key, value
            left = [bucket for bucket, reply in zip(left, replies, strict=True) if len(reply) == 2 * _RANGE_PAGE]
            offset += _RANGE_PAGE

    def remove(self, key: ProfileKey, version: bytes) -> bool:
        bucket = bucket_of(key.user_id)

        def call(_: int) -> Call:
            spelled = self._folders[bucket]
            keys = [k.state_key(bucket), k.index_key(bucket), k.profile_key(key)]
            keys += [k.announced_key(bucket), k.sequence_key(bucket)]
            keys += [name for folder in folders_.parse(spelled) for name in k.folder_keys(bucket, folder.id)]
            return Call("remove", keys, [spelled, version, member(key)])

        return bool(self._run_with_folders([bucket], call)[0][1])

    def floors(self, buckets: Iterable[int]) -> dict[int, int]:
        replies = ask(self._client, [("HGETALL", k.floors_key(bucket)) for bucket in buckets])
        return {int(user): int(floor) for found in replies for user, floor in found.items()}

    def raise_floor(self, user_id: int, floor: int) -> None:
        self._put_floor(user_id, floor, time_of_block(floor) if is_block(floor) else floor)

    def end_block(self, user_id: int, floor: int) -> bool:
        return self._put_floor(user_id, floor, "")

    def _put_floor(self, user_id: int, floor: int, time: Argument) -> bool:
        bucket = bucket_of(user_id)
        keys = [k.state_key(bucket), k.floors_key(bucket)]
        return bool(run(self._client, [Call("floor", keys, [user_id, floor, time, BLOCK])])[0])

    def bucket_states(self) -> list[BucketState | None]:
        found = ask(self._client, [("HGETALL", k.state_key(bucket)) for bucket in _ALL])
        before = self._read_states  # most are as they were: reading them is two fifths of all this
        self._read_states = states = [
            known if known[0] == fields else (fields, _state(fields))
            for fields, known in zip(found, before, strict=True)
        ]
        return [state for _, state in states]

    def initialize(self, origin: InitialPositions) -> None:
        arguments = [secrets.token_hex(8), origin.rules_version, *_flat(origin)]
        run(self._client, [Call("initialize", [k.state_key(bucket)], arguments) for bucket in _ALL])

    def raise_epoch(
        self, bucket: int, seen: int | None, recovery: RecoveryGoal, origin: InitialPositions, above: int = 0
    ) -> bool:
        arguments = [
            "" if seen is None else seen,
            max(1 + max(seen or 0, above), self.clock()),
            secrets.token_hex(8),
            origin.rules_version,
            msgspec.json.encode(recovery),
            *_flat(origin),
        ]
        return bool(run(self._client, [Call("raise_epoch", [k.state_key(bucket)], arguments)])[0])

    def recover(self, bucket: int, seen: BucketState, left: RecoveryGoal | None) -> bool:
        goals = [b"" if goal is None else msgspec.json.encode(goal) for goal in (seen.recovery, left)]
        return bool(run(self._client, [Call("recover", [k.state_key(bucket)], [seen.epoch, *goals])])[0])

    def lease(self, name: str, token: str, seconds: float) -> bool:
        return bool(run(self._client, [Call("lease", [k.lease_key(name)], [token, int(seconds * 1000)])])[0])

    def release(self, name: str, token: str) -> None:
        run(self._client, [Call("release", [k.lease_key(name)], [token])])

    def leased(self, name: str) -> bool:
        return bool(ask(self._client, [("EXISTS", k.lease_key(name))])[0])

    def document(self, name: str) -> bytes | None:
        found: bytes | None = ask(self._client, [("GET", k.document_key(name))])[0]
        return found

    def put_document(self, name: str, token: str, value: bytes) -> bool:
        keys = [k.lease_key(name), k.document_key(name)]
        return bool(run(self._client, [Call("put_document", keys, [token, value])])[0])

    def describe_process(self, name: str, value: bytes, seconds: float) -> None:
        _, now, ended = self._processes()
        put = [("HSET", k.processes_key(), name, b"%d %d %s" % (now, now + int(seconds * 1e6), value))] if value else []
        gone = [*ended, *([] if value else [name])]
        ask(self._client, [*put, *([("HDEL", k.processes_key(), *gone)] if gone else [])])

    def processes(self) -> dict[str, Description]:
        return self._processes()[0]

    def _processes(self) -> tuple[dict[str, Description], int, list[str]]:
        """What is kept, the time, and the names of those whose time has ended."""
        now, found, ended = self.clock(), {}, []
        for name, kept in ask(self._client, [("HGETALL", k.processes_key())])[0].items():
            time, until, value = kept.split(b" ", 2)
            if int(until) > now:
                found[name.decode()] = Description(int(time), value)
            else:
                ended.append(name.decode())
        return found, now, ended


def _write_arguments(write: Write, due: str) -> list[Argument]:
    """One profile's part of the arguments of save.lua."""
    arguments: list[Argument] = [write.expected, write.token, member(write.key), write.key.user_id]
    arguments += [due, "" if write.floor is None else write.floor, len(write.sets) + 1, len(write.deletes)]
    for item in write.sets.items():
        arguments += item
    arguments += [b"v", write.token, *write.deletes]
    return arguments


def _conflicts(save: Save, reply: list[Any]) -> list[ProfileKey]:
    if reply[0] == b"epoch":
        assert save.epoch is not None  # noqa: S101 - save.lua compares epochs only where one was given
        raise EpochError(save.bucket, save.epoch, int(reply[1]) if reply[1] else None)
    if reply[0] == b"hole":
        partition = reply[1].decode()
        stored = int(reply[2]) if reply[2] else None
        raise PositionGapError(save.bucket, partition, stored, save.intervals[partition][0])
    return [save.writes[index].key for index in reply[1:]]


def _state(fields: Mapping[bytes, bytes]) -> BucketState | None:
    if b"birth" not in fields:
        return None
    named = {name.decode(): value for name, value in fields.items()}
    return BucketState(
        instance_id=named["birth"].decode(),
        epoch=int(named["epoch"]),
        rules_version=named["meaning"].decode(),
        writes=int(named.get("writes", b"0")),
        positions={name[2:]: int(value) for name, value in named.items() if name.startswith("p:")},
        topic_ids={name[2:]: value.decode() for name, value in named.items() if name.startswith("t:")},
        recovery=_decode_goal(named["healing"]) if "healing" in named else None,
    )


def _flat(origin: InitialPositions) -> list[Argument]:
    flat = [item for pairs in (origin.positions, origin.topic_ids) for pair in pairs.items() for item in pair]
    return [len(origin.positions), *flat]

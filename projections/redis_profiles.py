"""The profiles in Redis: one hash each, its version in field `v`."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import redis

from projections import buckets as b
from projections import redis_folders as folders_
from projections.profile import ProfileKey
from projections.redis_scripts import Argument, Call, ask, run
from projections.store import ABSENT, EpochError, HoleError, Loaded, Save, Write

_SCAN_PAGE = 1000


class RedisProfiles:
    """Implements `load` to `remove` of `projections.store.Store`.

    `_folders` is each bucket's folders, as its mark spells them and as far as this process knows.
    """

    _client: redis.Redis
    _debounce_ms: int
    _folders: list[str]

    def load(self, wanted: Mapping[ProfileKey, Collection[bytes]]) -> dict[ProfileKey, Loaded]:
        """See the protocol."""
        replies = ask(self._client, [("HMGET", b.profile_key(key), b"v", *fields) for key, fields in wanted.items()])
        loaded = {}
        for (key, fields), (version, *values) in zip(wanted.items(), replies, strict=True):
            present = {name: value for name, value in zip(fields, values, strict=True) if value is not None}
            loaded[key] = Loaded(version or ABSENT, present)
        return loaded

    def save(self, saves: Sequence[Save]) -> list[list[ProfileKey]]:
        """See the protocol."""
        replies = self._knowing_folders([save.bucket for save in saves], lambda index: self._save_call(saves[index]))
        return [_conflicts(save, reply) for save, reply in zip(saves, replies, strict=True)]

    def _knowing_folders(self, buckets: Sequence[int], call: Callable[[int], Call]) -> list[Any]:
        """Run the calls 0, 1, .. on these buckets; again where a bucket has other folders than we knew."""
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
        keys = [b.mark_key(save.bucket), b.index_key(save.bucket)]
        keys += [b.due_key(save.bucket, folder.id) for folder in folders]
        arguments: list[Argument] = ["" if save.epoch is None else save.epoch, spelled, self._debounce_ms]
        arguments += [len(folders), len(save.intervals)]
        for partition, (start, end) in save.intervals.items():
            arguments += [partition, start, end]
        for write in save.writes:
            keys.append(b.profile_key(write.key))
            due = folders_.due_in(folders, write.key.group_slug) if write.dirty else ""
            arguments += _described(write, due)
        return Call("save", keys, arguments)

    def scan(self, key: ProfileKey) -> Iterator[tuple[bytes, bytes]]:
        """See the protocol."""
        cursor, name = b"0", b.profile_key(key)
        while True:
            cursor, page = ask(self._client, [("HSCAN", name, cursor, "COUNT", _SCAN_PAGE)])[0]
            yield from ((field, value) for field, value in page.items() if field != b"v")
            if int(cursor) == 0:
                return

    def profiles(self, first_user: int, last_user: int) -> list[ProfileKey]:
        """See the protocol."""
        # Scores are doubles: above 2^53 they give neighbours too.
        ranges = [("ZRANGEBYSCORE", b.index_key(bucket), first_user, last_user) for bucket in range(b.BUCKETS)]
        found = [b.parse_member(text) for members in ask(self._client, ranges) for text in members]
        return sorted(key for key in found if first_user <= key.user_id <= last_user)

    def remove(self, key: ProfileKey, version: bytes) -> bool:
        """See the protocol."""
        bucket = b.bucket_of(key.user_id)

        def call(_: int) -> Call:
            spelled = self._folders[bucket]
            keys = [b.mark_key(bucket), b.index_key(bucket), b.profile_key(key)]
            keys += [b.announced_key(bucket), b.sequence_key(bucket)]
            keys += [name for folder in folders_.parse(spelled) for name in b.folder_keys(bucket, folder.id)]
            return Call("remove", keys, [spelled, version, b.member(key)])

        return bool(self._knowing_folders([bucket], call)[0][1])


def _described(write: Write, due: str) -> list[Argument]:
    """One profile's part of the arguments of save.lua."""
    described: list[Argument] = [write.expected, write.token, b.member(write.key), write.key.user_id]
    described += [due, len(write.sets), len(write.deletes)]
    for field, value in write.sets.items():
        described += [field, value]
    described += write.deletes
    return described


def _conflicts(save: Save, reply: list[Any]) -> list[ProfileKey]:
    if reply[0] == b"epoch":
        assert save.epoch is not None  # noqa: S101 - save.lua compares epochs only where one was given
        raise EpochError(save.bucket, save.epoch, int(reply[1]) if reply[1] else None)
    if reply[0] == b"hole":
        partition = reply[1].decode()
        stored = int(reply[2]) if reply[2] else None
        raise HoleError(save.bucket, partition, stored, save.intervals[partition][0])
    return [save.writes[index].key for index in reply[1:]]

"""The store in Redis: see `projections.store` for the protocol, `lua/` for what is done in one step."""

import secrets
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any
from urllib.parse import quote, unquote

import msgspec
import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from projections import buckets as b
from projections.errors import OperatorError
from projections.profile import ProfileKey
from projections.redis_scripts import Call, passing_faults, run
from projections.store import (
    ABSENT,
    Claim,
    EpochError,
    Folder,
    Healing,
    HoleError,
    Loaded,
    Mark,
    Origin,
    Reading,
    Save,
    Settlement,
    StoreUnavailableError,
    Write,
)

_ALL = range(b.BUCKETS)
_SCAN_PAGE = 1000
_ANSWER_SECONDS = 5.0


def connect(url: str) -> redis.Redis:
    """A client for one Redis; nothing is sent yet. Raises OperatorError for a URL that is none."""
    try:
        return redis.Redis.from_url(
            url,
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_ANSWER_SECONDS,
            health_check_interval=15,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),
        )
    except ValueError as error:
        raise OperatorError(
            f"REDIS_URL {_without_password(url)!r} is not usable: {error}; write redis://host:6379/0"
        ) from error


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    _, at, place = rest.rpartition("@")
    return f"{scheme}{separator}{'***@' if at else ''}{place}"


class RedisStore:
    """Implements `projections.store.Store` on one Redis. `debounce` is in seconds."""

    def __init__(self, client: redis.Redis, debounce: float = 0.5, url: str = "REDIS_URL") -> None:
        self._client = client
        self._debounce = int(debounce * 1000)
        self._url = _without_password(url)
        self._folders = [""] * b.BUCKETS
        self._lock = threading.Lock()

    def check(self) -> None:
        """Refuse a Redis that is away, refuses us, is no Redis 7, or would throw keys away."""
        try:
            version = str(self._client.info("server").get("redis_version", "0"))
            policy = self._policy()
        except redis.AuthenticationError as error:
            raise OperatorError(
                f"Redis at {self._url} refuses the password ({error}); correct it in REDIS_URL: redis://:password@host"
            ) from error
        except (redis.BusyLoadingError, StoreUnavailableError) as error:
            raise StoreUnavailableError(f"Redis at {self._url} is loading its data") from error
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            raise OperatorError(
                f"no Redis answers at {self._url} ({error}); start it, or correct REDIS_URL, or leave it out"
            ) from error
        except redis.ResponseError as error:
            raise OperatorError(f"Redis at {self._url} refuses a command this program needs: {error}") from error
        if int(version.partition(".")[0]) < 7:  # noqa: PLR2004 - ZADD LT in scripts that read TIME needs effects replication
            raise OperatorError(f"Redis at {self._url} is version {version}; 7.0 or newer is needed")
        if policy not in ("noeviction", ""):
            raise OperatorError(
                f"Redis at {self._url} has maxmemory-policy {policy}, which loses data when memory is short; "
                "set it to noeviction"
            )

    def _policy(self) -> str:
        """The eviction policy; empty where the server (a managed one) does not tell."""
        try:
            return str(self._client.config_get("maxmemory-policy").get("maxmemory-policy", ""))
        except redis.ResponseError:
            return ""

    def clock(self) -> int:
        """See the protocol."""
        with passing_faults():
            seconds, micros = self._client.time()
        return int(seconds) * 1_000_000 + int(micros)

    # -- profiles ------------------------------------------------------------------------------------------------

    def load(self, wanted: Mapping[ProfileKey, Collection[bytes]]) -> dict[ProfileKey, Loaded]:
        """See the protocol."""
        with passing_faults():
            pipeline = self._client.pipeline(transaction=False)
            for key, fields in wanted.items():
                pipeline.hmget(b.profile_key(key), [b"v", *fields])
            replies = pipeline.execute()
        loaded = {}
        for (key, fields), (version, *values) in zip(wanted.items(), replies, strict=True):
            present = {name: value for name, value in zip(fields, values, strict=True) if value is not None}
            loaded[key] = Loaded(version or ABSENT, present)
        return loaded

    def save(self, saves: Sequence[Save]) -> list[list[ProfileKey]]:
        """See the protocol."""
        conflicts: list[list[ProfileKey]] = [[] for _ in saves]
        left = list(range(len(saves)))
        while left:
            replies = run(self._client, [self._save_call(saves[index]) for index in left])
            again = []
            for index, reply in zip(left, replies, strict=True):
                if reply[0] == b"folders":
                    self._folders[saves[index].bucket] = reply[1].decode()
                    again.append(index)
                else:
                    conflicts[index] = _conflicts(saves[index], reply)
            left = again
        return conflicts

    def _save_call(self, save: Save) -> Call:
        folders = self._folders[save.bucket]
        known = _parse_folders(folders)
        keys = [b.mark_key(save.bucket), b.index_key(save.bucket)]
        keys += [b.due_key(save.bucket, folder.id) for folder in known]
        arguments: list[str | bytes | int] = ["" if save.epoch is None else save.epoch, folders, self._debounce]
        arguments += [len(known), len(save.intervals)]
        for partition, (start, end) in save.intervals.items():
            arguments += [partition, start, end]
        for write in save.writes:
            keys.append(b.profile_key(write.key))
            arguments += _described(write, known)
        return Call("save", keys, arguments)

    def scan(self, key: ProfileKey) -> Iterator[tuple[bytes, bytes]]:
        """See the protocol."""
        cursor, name = 0, b.profile_key(key)
        while True:
            with passing_faults():
                found: tuple[int, dict[bytes, bytes]] = self._client.hscan(name, cursor, count=_SCAN_PAGE)  # type: ignore[assignment]  # redis-py types fit no bytes client
            cursor, page = found
            yield from ((field, value) for field, value in page.items() if field != b"v")
            if cursor == 0:
                return

    def profiles(self, first_user: int, last_user: int) -> list[ProfileKey]:
        """See the protocol."""
        with passing_faults():
            pipeline = self._client.pipeline(transaction=False)
            for bucket in _ALL:
                pipeline.zrangebyscore(b.index_key(bucket), first_user, last_user)
            found = [b.parse_member(text) for members in pipeline.execute() for text in members]
        return sorted(key for key in found if first_user <= key.user_id <= last_user)

    def remove(self, key: ProfileKey, version: bytes) -> bool:
        """See the protocol."""
        bucket = b.bucket_of(key.user_id)
        keys = [b.index_key(bucket), b.profile_key(key), b.mark_key(bucket)]
        return bool(run(self._client, [Call("remove", keys, [version, b.member(key)])])[0])

    # -- marks ---------------------------------------------------------------------------------------------------

    def marks(self) -> list[Mark | None]:
        """See the protocol."""
        with passing_faults():
            pipeline = self._client.pipeline(transaction=False)
            for bucket in _ALL:
                pipeline.hgetall(b.mark_key(bucket))
            return [_mark(fields) for fields in pipeline.execute()]

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

    # -- flushing ------------------------------------------------------------------------------------------------

    def register(self, folder: Folder) -> bool:
        """See the protocol."""
        spelled = _spell(folder)
        calls = [
            Call(
                "register",
                [b.mark_key(bucket), b.index_key(bucket), b.due_key(bucket, folder.id)],
                [spelled, folder.group_slug or ""],
            )
            for bucket in _ALL
        ]
        return any(run(self._client, calls))

    def next_due(self, folder: str) -> list[int | None]:
        """See the protocol."""
        with passing_faults():
            pipeline = self._client.pipeline(transaction=False)
            for bucket in _ALL:
                pipeline.zrange(b.due_key(bucket, folder), 0, 0, withscores=True)
                pipeline.zrange(b.leases_key(bucket, folder), 0, 0, withscores=True)
            replies = pipeline.execute()
        pairs = zip(replies[::2], replies[1::2], strict=True)
        return [min((int(score * 1000) for _, score in [*due, *leases]), default=None) for due, leases in pairs]

    def claim(self, folder: str, buckets: Iterable[int], limit: int, seconds: float, token: str) -> list[Claim]:
        """See the protocol."""
        calls = [
            Call(
                "claim",
                [
                    b.mark_key(bucket),
                    b.due_key(bucket, folder),
                    b.leases_key(bucket, folder),
                    b.tokens_key(bucket, folder),
                    b.force_key(bucket, folder),
                    b.claim_key(bucket, folder, token),
                ],
                [token, limit, int(seconds * 1000)],
            )
            for bucket in buckets
        ]
        replies = run(self._client, calls) if calls else []
        pairs = (pair for reply in replies for pair in zip(reply[::2], reply[1::2], strict=True))
        return [Claim(b.parse_member(name), flags == 1, flags == 2) for name, flags in pairs]  # noqa: PLR2004 - claim.lua

    def read(self, folder: str, claims: Sequence[Claim]) -> list[Reading]:
        """See the protocol."""
        groups = _by_bucket(claims)
        calls = [
            Call(
                "read",
                [
                    b.settled_key(bucket, folder),
                    b.announced_key(bucket),
                    b.sequence_key(bucket),
                    *(b.profile_key(claim.key) for claim in mine),
                ],
                [b.member(claim.key) for claim in mine],
            )
            for bucket, mine in groups
        ]
        found = {}
        for (_, mine), reply in zip(groups, run(self._client, calls), strict=True):
            for index, claim in enumerate(mine):
                found[claim.key] = _reading(reply[5 * index : 5 * index + 5])
        return [found[claim.key] for claim in claims]

    def settle(self, folder: str, token: str, settlements: Sequence[Settlement], seconds: float) -> None:
        """See the protocol."""
        claims = {one.claim.key: one for one in settlements}
        calls = []
        for bucket, mine in _by_bucket([one.claim for one in settlements]):
            keys = [
                b.due_key(bucket, folder),
                b.leases_key(bucket, folder),
                b.tokens_key(bucket, folder),
                b.force_key(bucket, folder),
                b.settled_key(bucket, folder),
                b.announced_key(bucket),
                *(b.profile_key(claim.key) for claim in mine),
            ]
            arguments: list[str | bytes | int] = [token, self._debounce, int(seconds * 1000)]
            for claim in mine:
                one = claims[claim.key]
                announced = "-" if one.announced is None else one.announced
                arguments += [b.member(claim.key), one.version, 2 if claim.taken_over else 0, one.settled, announced]
            calls.append(Call("settle", keys, arguments))
        run(self._client, calls)

    def defer(self, folder: str, token: str, claims: Sequence[Claim], seconds: float) -> None:
        """See the protocol."""
        run(
            self._client,
            [
                Call(
                    "defer",
                    [b.due_key(bucket, folder), b.leases_key(bucket, folder), b.tokens_key(bucket, folder)],
                    [token, int(seconds * 1000), *(b.member(claim.key) for claim in mine)],
                )
                for bucket, mine in _by_bucket(claims)
            ],
        )

    def force(self, folder: str, keys: Sequence[ProfileKey]) -> None:
        """See the protocol."""
        run(
            self._client,
            [
                Call(
                    "force",
                    [b.due_key(bucket, folder), b.force_key(bucket, folder)],
                    [b.member(claim.key) for claim in mine],
                )
                for bucket, mine in _by_bucket([Claim(key, forced=True, taken_over=False) for key in keys])
            ],
        )

    # -- leases --------------------------------------------------------------------------------------------------

    def lease(self, name: str, token: str, seconds: float) -> bool:
        """See the protocol."""
        return bool(run(self._client, [Call("lease", [b.lease_key(name)], [token, int(seconds * 1000)])])[0])

    def release(self, name: str, token: str) -> None:
        """See the protocol."""
        run(self._client, [Call("release", [b.lease_key(name)], [token])])

    def document(self, name: str) -> bytes | None:
        """See the protocol."""
        with passing_faults():
            found: bytes | None = self._client.get(b.document_key(name))  # type: ignore[assignment]  # redis-py types fit no bytes client
            return found

    def put_document(self, name: str, token: str, value: bytes) -> bool:
        """See the protocol."""
        keys = [b.lease_key(name), b.document_key(name)]
        return bool(run(self._client, [Call("put_document", keys, [token, value])])[0])

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _described(write: Write, folders: Sequence[Folder]) -> list[str | bytes | int]:
    """One profile's part of the arguments of save.lua."""
    due = "".join("1" if folder.group_slug in (None, write.key.group_slug) else "0" for folder in folders)
    described: list[str | bytes | int] = [write.expected, write.token, b.member(write.key), write.key.user_id]
    described += [due if write.dirty else "", len(write.sets), len(write.deletes)]
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


def _spell(folder: Folder) -> str:
    """A folder as a mark spells it: `<id>=<slug, percent-encoded, or *>;`."""
    return f"{folder.id}={'*' if folder.group_slug is None else quote(folder.group_slug, safe='')};"


def _parse_folders(text: str) -> list[Folder]:
    pairs = (entry.partition("=") for entry in text.split(";") if entry)
    return [Folder(name, None if slug == "*" else unquote(slug)) for name, _, slug in pairs]


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


def _reading(fields: Sequence[bytes | None]) -> Reading:
    version, head, settled, announced, sequence = fields
    return Reading(
        version or ABSENT,
        head,
        None if settled is None else settled.decode(),
        None if announced is None else announced.decode(),
        int(sequence or b"0"),
    )


def _flat(origin: Origin) -> list[str | bytes | int]:
    flat = [item for pairs in (origin.positions, origin.topic_ids) for pair in pairs.items() for item in pair]
    return [len(origin.positions), *flat]


def _by_bucket(claims: Sequence[Claim]) -> list[tuple[int, list[Claim]]]:
    ordered = sorted(claims, key=lambda claim: b.bucket_of(claim.key.user_id))
    return [(bucket, list(mine)) for bucket, mine in groupby(ordered, key=lambda claim: b.bucket_of(claim.key.user_id))]

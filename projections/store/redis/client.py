"""Connect to a Redis, and refuse one that would lose data or can't be used."""

import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import hiredis
import redis
import structlog
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from projections.errors import OperatorError, UnreachableError
from projections.masking import mask
from projections.store.protocol import StoreUnavailableError
from projections.store.redis.scripts import passing_faults, refuse_passing

log = structlog.get_logger()

_ANSWER_SECONDS = 5.0
OLDEST = 7  # ZADD LT and GT; and scripts that write after they read the time


class Packer:
    """Packs commands as redis-py's own packer does, which first looks at each argument in Python for a memoryview."""

    @staticmethod
    def pack(name: str | bytes, *arguments: str | bytes | float) -> list[bytes]:
        """Give the command as it is sent; a name of two words is two arguments."""
        return [hiredis.pack_command((*name.split(), *arguments))]


def connect(url: str) -> redis.Redis:
    """A client for one Redis; nothing is sent yet. Raises OperatorError for a URL that is none."""
    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_ANSWER_SECONDS,
            command_packer=Packer(),
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),
        )
        client.connection_pool.make_connection()  # connects to nothing; refuses options that there are not
        if client.get_connection_kwargs().get("decode_responses"):
            raise ValueError("what we store is bytes")  # noqa: TRY301 - the refusal of all that can't be meant
        if urlsplit(url).scheme != "unix":
            int(urlsplit(url).path.strip("/") or "0")  # redis-py takes database 0 for whatever is no number
    except (redis.RedisError, AttributeError, TypeError, ValueError) as error:
        raise OperatorError(
            f"REDIS_URL {mask(url)} is not usable; write redis://host:6379/0, rediss://host:6379/0 "
            "or unix:///path/to/redis.sock"
        ) from error
    return client


def server(client: redis.Redis) -> str:
    """Name the server and its version. Raises StoreUnavailableError."""
    with passing_faults():
        facts: Any = client.info("server")
    return f"Valkey {facts['valkey_version']}" if "valkey_version" in facts else f"Redis {facts['redis_version']}"


def rewrite_log(client: redis.Redis, seconds: float = 30.0) -> None:
    """Have the append-only file written again, without what was overwritten; wait for its end, so long at most.

    Raises StoreUnavailableError.
    """
    deadline = time.monotonic() + seconds
    with passing_faults():
        client.bgrewriteaof()
        while _rewriting(client) and time.monotonic() < deadline:
            time.sleep(0.05)


def _rewriting(client: redis.Redis) -> bool:
    found: Any = client.info("persistence")
    return bool(found.get("aof_rewrite_in_progress") or found.get("aof_rewrite_scheduled"))


def check(client: redis.Redis, url: str) -> None:
    """Refuse a Redis that is unreachable, refuses us, is too old, a replica, or evicts keys; warn of one without a log.

    `url` is without password. A log that can't be written is a warning too: reads are answered all the same.
    Raises OperatorError, or StoreUnavailableError while it loads its data or answers nothing.
    """
    facts, policy = _facts(client, url)
    if facts.get("loading"):  # INFO and CONFIG are answered even then
        raise StoreUnavailableError(f"Redis at {url} is loading its data; wait")
    version = str(facts.get("redis_version", "0"))
    if int("0" + re.sub(r"\D.*", "", version)) < OLDEST:
        raise OperatorError(f"Redis at {url} is version {version}; install {OLDEST}.0 or newer")
    if facts.get("role") == "slave":
        primary = f"{facts.get('master_host')}:{facts.get('master_port')}"
        raise OperatorError(
            f"Redis at {url} is a replica and takes no writes; point REDIS_URL at its primary, {primary}"
        )
    if policy not in {"noeviction", ""}:
        raise OperatorError(
            f"Redis at {url} has maxmemory-policy {policy}, which loses data when memory is short; set it to noeviction"
        )
    if not policy:
        log.warning("Redis does not tell its maxmemory-policy; make sure that it is noeviction", url=url)
    if facts.get("aof_last_write_status") == "err":
        log.warning("Redis can't write its append-only file, so it refuses all writes; make room on its disk", url=url)
    if not facts.get("aof_enabled"):
        log.warning("Redis keeps no append-only file; after its restart profiles are rebuilt: set appendonly", url=url)


def _facts(client: redis.Redis, url: str) -> tuple[dict[str, Any], str]:
    """What INFO tells, and the eviction policy; redis-py reads some options of the URL only now."""
    try:
        facts = client.info()
        return facts, _policy(client, facts)
    except redis.AuthenticationError as error:
        raise OperatorError(
            f"Redis at {url} refuses the password ({error}); correct it in REDIS_URL, where it stands before the @"
        ) from error
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        raise UnreachableError(
            f"no Redis answers at {url} ({error}); start it, or correct REDIS_URL, or leave it out"
        ) from error
    except redis.ResponseError as error:
        refuse_passing(error)
        raise OperatorError(f"Redis at {url} refuses a command that this program needs: {error}") from error
    except redis.InvalidResponse as error:
        raise OperatorError(f"what answers at {url} is no Redis ({error}); correct REDIS_URL") from error
    except (
        redis.RedisError,
        AttributeError,
        TypeError,
        ValueError,
    ) as error:
        raise OperatorError(f"an option of REDIS_URL {url} is not usable ({error}); correct or remove it") from error


def _policy(client: redis.Redis, facts: Mapping[str, object]) -> str:
    """The eviction policy, by INFO or, where that does not tell, by CONFIG; empty where neither does."""
    if "maxmemory_policy" in facts:
        return str(facts["maxmemory_policy"])
    try:
        return str(client.config_get("maxmemory-policy").get("maxmemory-policy", ""))
    except redis.ResponseError:
        return ""

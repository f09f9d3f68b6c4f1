"""The Lua scripts, and calling many of them in one round trip.

A script that the server does not know (a restart, SCRIPT FLUSH) is loaded and only its own calls are sent again: every
script is harmless when it arrives twice.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any, NamedTuple

import redis
import structlog

from projections.errors import OperatorError
from projections.store.protocol import StoreUnavailableError

log = structlog.get_logger()

_TEXTS = {
    path.name.removesuffix(".lua"): path.read_text(encoding="utf-8")
    for path in resources.files("projections.store.redis").joinpath("lua").iterdir()
    if path.name.endswith(".lua")
}
_HASHES = {name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in _TEXTS.items()}

# redis-py takes the first word off an error that it has a class for, and leaves it on all others.
_PASSING = ("LOADING", "OOM", "READONLY", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS")
_PASSING_KINDS = (
    redis.ReadOnlyError,
    redis.OutOfMemoryError,
    redis.exceptions.NoScriptError,
    redis.exceptions.ClusterDownError,  # and MASTERDOWN
    redis.exceptions.TryAgainError,
)
_WAYS_OUT = {
    "OutOfMemoryError": "; raise its maxmemory, or make room",
    "ReadOnlyError": "; point REDIS_URL at its primary, if that stays so",
    "ResponseError MISCONF": "; make room on its disk, and see its log",
}
"""By redis-py's kind of error, and the server's first word where that is left."""
_REFUSED = ("ACL failure in script", "The user executing the script can't")
_LACKING = ("unknown command", "Unknown command", "Unknown Redis command", "unknown subcommand")
_IN_PIPELINE = "of pipeline caused error: "
"""What redis-py puts before the server's own words."""
_IN_SCRIPT = re.compile(r" script: \w+, on @user_script:\d+\.?$")
"""What the server puts behind them."""

_SAVE = "save"

Argument = str | bytes | int


class Call(NamedTuple):
    """One script call: the keys, then the arguments."""

    script: str
    keys: Sequence[str]
    arguments: Sequence[Argument]


@contextmanager
def passing_faults() -> Iterator[None]:
    """Turn what redis-py raises of a server that is down, loading, full or failing over into StoreUnavailableError.

    Raises OperatorError where no waiting helps: a cluster, a server without what we need, a user who may not do it.
    """
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, redis.InvalidResponse) as error:
        raise StoreUnavailableError(
            f"Redis does not answer ({error}); is it running where REDIS_URL points?"
        ) from error
    except redis.ResponseError as error:
        refuse_passing(error)
        _refuse(error, _own_words(error))
        raise


def refuse_passing(error: redis.ResponseError) -> None:
    """Raise StoreUnavailableError where the server will take the command some time: it is full, busy, failing over."""
    text = _own_words(error)
    if isinstance(error, _PASSING_KINDS) or text.startswith(_PASSING):
        kind = f"{type(error).__name__} {text}"
        way_out = next((way for sign, way in _WAYS_OUT.items() if kind.startswith(sign)), "")
        raise StoreUnavailableError(f"Redis can't answer at present: {text}{way_out}") from error


def _own_words(error: redis.ResponseError) -> str:
    """What the server says, without the place in a script: the same condition has the same text."""
    return _IN_SCRIPT.sub("", str(error).rpartition(_IN_PIPELINE)[2]).rstrip(".")


def _refuse(error: redis.ResponseError, text: str) -> None:
    if isinstance(error, redis.exceptions.AskError):  # MOVED as well
        raise OperatorError(
            f"Redis sends us to another server ({text}): it is one of a cluster, and holds a part of the keys only; "
            "point REDIS_URL at a server that is no cluster"
        ) from error
    if text.startswith(_LACKING):
        raise OperatorError(
            f"Redis lacks a command that this program needs ({text}); point REDIS_URL at a Redis or Valkey that "
            "has all commands: scripts, sorted sets, hashes"
        ) from error
    if text.startswith("WRONGTYPE"):
        raise OperatorError(
            f"a key of Redis holds what this program did not write ({text}); give it a database number of its own in "
            "REDIS_URL, or remove the keys sis:*"
        ) from error
    if isinstance(error, redis.exceptions.NoPermissionError) or text.startswith(_REFUSED):
        raise OperatorError(
            f"Redis refuses us what this program needs ({text}); allow the user of REDIS_URL all commands on the "
            "keys sis:*, as in ACL SETUSER name ~sis:* +@all"
        ) from error


def ask(client: redis.Redis, commands: Sequence[Sequence[Argument]]) -> list[Any]:
    """Send plain commands, pipelined; their replies in order. Raises StoreUnavailableError."""
    if not commands:
        return []
    with passing_faults():
        pipeline = client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py types its methods only
        replies: list[Any] = pipeline.execute()
        return replies


def run(client: redis.Redis, calls: Sequence[Call]) -> list[Any]:
    """Call scripts, pipelined; their replies in order.

    Raises StoreUnavailableError; another error of a script is a bug and is raised as it is.
    """
    if not calls:
        return []
    with passing_faults():
        replies: list[Any] = [None] * len(calls)
        left = list(range(len(calls)))
        missing = set[str]()
        for _ in range(2):
            for index, reply in zip(left, _send(client, [calls[i] for i in left]), strict=True):
                replies[index] = reply
            left = [index for index in left if isinstance(replies[index], redis.exceptions.NoScriptError)]
            if not left:
                break
            missing = {calls[index].script for index in left}
            for name in missing:
                client.script_load(_TEXTS[name])
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        if _SAVE in missing:
            _renew_log(client)
        return replies


def _renew_log(client: redis.Redis) -> None:
    """Have a server that was started again write its append-only file again, after the first save.

    Where the file ended within a transaction (a power cut, a full disk), the server leaves the first commands there and
    takes them for done when it starts the next time (valkey-io/valkey#4342; every Redis does so): half a save. This
    save was a whole transaction: so that half ends in the old file, or a server that is killed while it writes the new
    one would refuse to start.
    """
    facts: Any = client.info("persistence")
    if not facts.get("aof_enabled"):
        return
    try:
        client.bgrewriteaof()
    except redis.ResponseError as error:
        if "in progress" not in str(error):
            log.warning(
                "Redis was started again and does not write its append-only file again; run BGREWRITEAOF, or allow it "
                "to the user of REDIS_URL",
                reason=str(error),
            )


def _send(client: redis.Redis, calls: Sequence[Call]) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for call in calls:
        pipeline.evalsha(_HASHES[call.script], len(call.keys), *call.keys, *call.arguments)
    replies: list[Any] = pipeline.execute(raise_on_error=False)
    return replies

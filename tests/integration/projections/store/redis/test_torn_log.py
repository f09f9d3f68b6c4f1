"""An append-only file that ends within a transaction: what the server leaves in it is not taken for done later."""

from typing import Any

import redis
from structlog.testing import capture_logs

from projections.codec import link_field
from projections.profile_key import ProfileKey
from projections.projection import Projection
from projections.store.keys import profile_key
from projections.store.redis.scripts import ask
from projections.store.redis.store import RedisStore, connect
from snapshot.reconcile.stored import read_stored
from support.histories import comment
from support.process import wait_until
from support.redis_server import RedisServer
from support.stores import ORIGIN

ANN = ProfileKey(1, "lions")
_PHANTOM = link_field("https://example.org/phantom")


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def _tear(server: RedisServer) -> None:
    """Half of a save is in the file: a transaction, a whole command, and half a one."""
    server.kill()
    (log,) = (server.dir / "appendonlydir").glob("*.incr.aof")
    written = _command(b"HSET", profile_key(ANN).encode(), _PHANTOM, b"\x92\x01\x92\x91\x93\x00\x0a\x00\xc3")
    with log.open("ab") as file:
        file.write(_command(b"SELECT", b"0") + _command(b"MULTI") + written + written[: len(written) // 2])
    server.start()


def _restart(server: RedisServer) -> None:
    server.kill()
    server.start()


def _client(found: Projection) -> redis.Redis:
    assert isinstance(found.store, RedisStore)
    return found.store._client  # noqa: SLF001 - the same server


def _wait_for_rewriting(client: redis.Redis) -> None:
    wait_until(lambda: not dict[str, Any](client.info("persistence"))["aof_rewrite_in_progress"], "the file")


def _filled(server: RedisServer) -> Projection:
    store = RedisStore(connect(server.url), 0.0, server.url)
    store.initialize(ORIGIN)
    found = Projection(store)
    found.apply([comment(ANN, 10, 1, "https://example.org/a")])
    _wait_for_rewriting(_client(found))
    return found


def test_half_a_save_is_not_taken_for_whole_by_the_restart_after_the_next(own_redis: RedisServer) -> None:
    found = _filled(own_redis)
    store = found.store
    _tear(own_redis)
    found.apply([comment(ANN, 11, 1, "https://example.org/b")])
    _wait_for_rewriting(_client(found))
    _restart(own_redis)
    assert _PHANTOM not in dict(store.scan(ANN))
    stored = read_stored(store, [ANN], deep=True)
    assert stored.inconsistent_fields == {ANN: frozenset()}
    head = found.read_current([ANN])[ANN].head
    assert head is not None
    assert head.count == 2


def _rewritings(client: redis.Redis) -> int:
    found: Any = client.info("commandstats")
    return int(found.get("cmdstat_bgrewriteaof", {}).get("calls", 0))


def test_the_file_is_written_again_once_after_each_restart(own_redis: RedisServer) -> None:
    found = _filled(own_redis)
    client = _client(found)
    assert _rewritings(client) == 1
    found.apply([comment(ANN, 11, 1)])
    Projection(RedisStore(connect(own_redis.url), 0.0, own_redis.url)).apply([comment(ANN, 12, 1)])
    assert _rewritings(client) == 1
    _restart(own_redis)
    found.apply([comment(ANN, 13, 1)])
    assert _rewritings(client) == 1  # of this run


def test_a_server_that_refuses_is_named_in_the_log_and_used(own_redis: RedisServer) -> None:
    client = _client(_filled(own_redis))
    ask(client, [("ACL", "SETUSER", "one", "reset", "on", ">word", "~sis:*", "+@all", "-bgrewriteaof")])
    client.script_flush()
    other = Projection(RedisStore(connect(own_redis.tcp_url.replace("//", "//one:word@")), 0.0, "redis"))
    with capture_logs() as lines:
        other.apply([comment(ANN, 11, 1)])
        other.apply([comment(ANN, 12, 1)])
    assert [line["log_level"] for line in lines] == ["warning"]
    assert "bgrewriteaof" in lines[0]["reason"]

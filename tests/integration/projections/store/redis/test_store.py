"""The Redis store and what a real server does to it."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from projections.comments.events import Event
from projections.errors import OperatorError
from projections.profile_key import BUCKETS, bucket_of, member
from projections.projection import Projection
from projections.store import keys
from projections.store.protocol import (
    ABSENT,
    Folder,
    InitialPositions,
    Published,
    RecoveryGoal,
    Save,
    Settlement,
    Store,
    StoreUnavailableError,
    block_at,
)
from projections.store.redis import client as redis_client
from projections.store.redis.store import RedisStore, connect
from support.epochs import recovered
from support.histories import KEYS, check, comment
from support.process import free_port, wait_until
from support.redis_server import RedisServer
from support.stores import NEVER, NOW, claim, save, write

KEY = KEYS[0]
FOLDER = Folder("17ab", None)
PASSWORD = "sesame-öffne=dich"  # noqa: S105  a test's own


def opened(url: str) -> RedisStore:
    return RedisStore(connect(url), NOW, url)


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    found = opened(redis_url)
    found.check()
    yield found
    found.close()


def test_scripts_that_the_server_forgot_are_sent_again(store: RedisStore, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        for step, number in enumerate((1, 2, 3)):
            client.script_flush()
            store.add_folder(FOLDER)
            Projection(store).apply([comment(KEY, number, 1)])
            client.script_flush()
            assert len(claim(store, FOLDER, who=f"claim {step}")) == (step == 0)
    check(Projection(store), [comment(KEY, number, 1) for number in (1, 2, 3)])


def test_a_script_is_sent_once_not_at_each_call(store: RedisStore, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.config_resetstat()
        for number in range(10):
            Projection(store).apply([comment(KEY, number, 1)])
        assert client.info("commandstats")["cmdstat_script|load"]["calls"] <= 1


def test_two_processes_with_different_folders_in_mind_mark_all_of_them(redis_url: str) -> None:
    one, other = opened(redis_url), opened(redis_url)
    one.add_folder(Folder("a", None))
    save(one, write(KEY, ABSENT, b"one"))
    other.add_folder(Folder("b", "lions"))
    other.add_folder(Folder("c", "no such group"))
    save(one, write(KEY, b"one", b"two"))
    save(other, write(KEY, b"two", b"three"))
    assert [len(claim(one, Folder(name, None))) for name in "abc"] == [1, 1, 0]
    one.close()
    other.close()


def flushed(store: RedisStore, who: str) -> None:
    """One whole flush of what is due in the folder: claimed, read, announced, settled."""
    claims = claim(store, FOLDER, seconds=0.001, who=who)
    readings = store.read(FOLDER.id, claims)
    settled = [
        Settlement(one, reading, "hash", Published.ANNOUNCEMENT) for one, reading in zip(claims, readings, strict=True)
    ]
    store.settle(FOLDER.id, who, settled, NOW)


def test_removal_knows_folders_that_others_registered(redis_url: str) -> None:
    one, other = opened(redis_url), opened(redis_url)
    save(one, write(KEY, ABSENT, b"one"))
    other.add_folder(FOLDER)
    flushed(other, "flusher")
    assert other.settled(FOLDER.id, [KEY]) == ["hash"]
    assert one.remove(KEY, b"one")
    assert other.settled(FOLDER.id, [KEY]) == [None]
    one.close()
    other.close()


def test_nothing_but_the_marks_is_left_of_a_removed_profile(store: RedisStore, redis_url: str) -> None:
    store.initialize(InitialPositions({}, {}, "1"))
    store.add_folder(FOLDER)
    Projection(store).apply([comment(KEY, 1, 1)])
    flushed(store, "flusher")
    store.remove(KEY, store.load({KEY: ()})[KEY].version)
    with redis.Redis.from_url(redis_url) as client:
        wait_until(lambda: client.dbsize() == BUCKETS + 1, "the claim ends", 10)
        assert [key for key in client.scan_iter() if not key.endswith(b":mark")] == [b"sis:{folders}:flushed"]


def test_every_key_of_a_profile_lies_in_its_bucket(store: RedisStore, redis_url: str) -> None:
    store.add_folder(FOLDER)
    Projection(store).apply([comment(KEY, 1, 1)])
    flushed(store, "first")
    store.force(FOLDER.id, [KEY])
    claims = claim(store, FOLDER)
    store.force(FOLDER.id, [KEY])
    store.read(FOLDER.id, claims)
    with redis.Redis.from_url(redis_url) as client:
        keys = [key for key in client.scan_iter() if not key.endswith((b":mark", b"{folders}:flushed"))]
    assert len(keys) >= 9
    assert {key.split(b":")[1] for key in keys} == {b"{b%d}" % bucket_of(KEY.user_id)}


def test_a_sequence_grows_even_where_the_clock_went_back(store: RedisStore, redis_url: str) -> None:
    store.add_folder(FOLDER)
    save(store, write(KEY, ABSENT, b"one"))
    claims = claim(store, FOLDER)
    ahead = store.clock() + 10**12
    with redis.Redis.from_url(redis_url) as client:
        client.hset(keys.sequence_key(bucket_of(KEY.user_id)), member(KEY), ahead)
    assert [store.read(FOLDER.id, claims)[0].sequence for _ in range(2)] == [ahead + 1, ahead + 2]


def test_a_long_profile_is_scanned_in_pages_while_it_changes(store: RedisStore) -> None:
    fields = {b"c%d" % number: b"x" * 100 for number in range(5_000)}
    save(store, write(KEY, ABSENT, b"one", fields))
    pages = store.scan(KEY)
    seen = dict([next(pages)])
    save(store, write(KEY, b"one", b"two", {b"c%d" % number: b"new" for number in range(5_000, 60_000)}))
    seen.update(pages)
    assert seen.keys() >= fields.keys()


# ---------------------------------------------------------------------------------------------- an unreachable server


CALLS: dict[str, Callable[[Store], object]] = {
    "load": lambda store: store.load({KEY: [b"h"]}),
    "save": lambda store: save(store, write(KEY, ABSENT, b"one")),
    "scan": lambda store: list(store.scan(KEY)),
    "profiles": lambda store: store.profiles(0, 1),
    "remove": lambda store: store.remove(KEY, b"one"),
    "bucket_states": lambda store: store.bucket_states(),
    "initialize": lambda store: store.initialize(InitialPositions({}, {}, "1")),
    "add_folder": lambda store: store.add_folder(FOLDER),
    "next_due": lambda store: store.next_due(FOLDER.id),
    "claim": lambda store: claim(store, FOLDER),
    "recheck": lambda store: store.recheck(FOLDER.id, [KEY]),
    "settled": lambda store: store.settled(FOLDER.id, [KEY]),
    "lease": lambda store: store.lease("relay", "a", NEVER),
    "release": lambda store: store.release("relay", "a"),
    "document": lambda store: store.document("relay"),
    "put_document": lambda store: store.put_document("relay", "a", b"x"),
    "clock": lambda store: store.clock(),
}


def test_every_call_to_a_server_that_is_away_says_so_and_works_again_later(own_redis: RedisServer) -> None:
    store = opened(own_redis.url)
    Projection(store).apply([comment(KEY, 1, 1, "https://a.org")])
    own_redis.kill()
    for name, call in CALLS.items():
        with pytest.raises(StoreUnavailableError, match="REDIS_URL") as caught:
            call(store)
        assert "\n" not in str(caught.value), name
    own_redis.start()
    Projection(store).apply([comment(KEY, 2, 1, "https://a.org")])
    check(Projection(store), [comment(KEY, number, 1, "https://a.org") for number in (1, 2)])
    for call in CALLS.values():
        call(store)
    store.close()


def applied(store: Store, batch: list[Event]) -> bool:
    try:
        Projection(store).apply(batch)
    except StoreUnavailableError:
        return False
    return True


def test_a_server_killed_again_and_again_under_traffic_loses_nothing_that_was_acknowledged(
    own_redis: RedisServer,
) -> None:
    """The batch in flight is sent again after each kill; appendfsync always, so what was acknowledged is on disk."""
    store = opened(own_redis.url)
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("appendfsync", "always")
    history: list[Event] = [
        comment(KEYS[step % 3], step % 40, step, f"https://example.org/{step % 7}") for step in range(400)
    ]
    kills = []

    def killing() -> None:
        for _ in range(4):
            time.sleep(0.1)
            own_redis.kill()
            own_redis.start()
            kills.append(own_redis.pid)

    killer = threading.Thread(target=killing)
    killer.start()
    begins = itertools.cycle(range(0, len(history), 4))
    for sent, begin in enumerate(begins):
        while not applied(store, history[begin : begin + 4]):
            pass
        if sent >= len(history) / 4 and not killer.is_alive():
            break
    assert len(kills) == 4
    check(Projection(store), history)
    store.close()


def test_a_server_out_of_memory_writes_nothing_and_says_so(own_redis: RedisServer) -> None:
    store = opened(own_redis.url)
    store.initialize(InitialPositions({"p": 0}, {}, "1"))
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory", 1)
        before = store.bucket_states()
        with pytest.raises(StoreUnavailableError, match="raise its maxmemory"):
            store.save([Save(bucket_of(KEY.user_id), [write(KEY, ABSENT, b"one")], 0, {"p": (0, 1)})])
        assert store.load({KEY: [b"h"]})[KEY].version == ABSENT
        assert store.bucket_states() == before
        client.config_set("maxmemory", 0)
    assert save(store, write(KEY, ABSENT, b"one")) == []
    store.close()


def test_a_replica_that_takes_no_writes_says_so(own_redis: RedisServer) -> None:
    store = opened(own_redis.url)
    with redis.Redis.from_url(own_redis.url) as client:
        client.replicaof("127.0.0.1", str(free_port()))
        with pytest.raises(StoreUnavailableError, match="point REDIS_URL at its primary"):
            save(store, write(KEY, ABSENT, b"one"))
        client.config_set("replica-serve-stale-data", "no")
        for use in (store.bucket_states, lambda: save(store, write(KEY, ABSENT, b"one"))):
            with pytest.raises(StoreUnavailableError, match="Link with MASTER is down"):
                use()
        client.replicaof("NO", "ONE")
    assert save(store, write(KEY, ABSENT, b"one")) == []
    store.close()


def test_a_server_that_is_busy_with_another_s_script_is_waited_for(own_redis: RedisServer) -> None:
    store = opened(own_redis.url)
    with redis.Redis.from_url(own_redis.url) as client, redis.Redis.from_url(own_redis.url) as other:
        client.config_set("busy-reply-threshold", 1)

        def spin() -> None:
            with pytest.raises(redis.ResponseError):
                other.eval("while true do end", 0)

        endless = threading.Thread(target=spin)
        endless.start()
        wait_until(lambda: is_busy(store.bucket_states), "the endless script")
        assert is_busy(store.check)
        client.script_kill()
        endless.join()
    assert store.bucket_states()
    store.close()


def is_busy(use: Callable[[], object]) -> bool:
    try:
        use()
    except StoreUnavailableError as error:
        return "BUSY" in str(error)
    return False


# --------------------------------------------------------------------------------------- what only the operator can fix


def refusal(url: str) -> str:
    """What `check` says; one line, without a password."""
    with pytest.raises(OperatorError) as caught:
        opened(url).check()
    said = str(caught.value)
    assert "\n" not in said
    for secret in ("sesame", "%C3%B6ffne"):
        assert secret not in said
    return said


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://localhost:6379",
        f"http://ann:{PASSWORD}@localhost:6379",
        "redis://localhost:notaport/0",
        f"redis://:{PASSWORD}",
        f"redis://ann:{PASSWORD}@localhost:x",
        "redis://localhost/0?socket_timeout=soon",
        "redis://localhost/0?colour=blue",
        f"redis://localhost/0?colour=blue&password={PASSWORD}",
        "",
        "redis://[::1",
    ],
)
def test_a_url_that_is_none(url: str) -> None:
    assert "REDIS_URL" in refusal(url)
    assert "redis://host:6379/0" in refusal(url)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    assert "start it" in refusal(f"redis://127.0.0.1:{free_port()}/0")
    assert "start it" in refusal(f"unix://{tmp_path}/nothing.sock")
    assert "start it" in refusal(f"redis://ann:{PASSWORD}@127.0.0.1:{free_port()}/0?password={PASSWORD}")
    assert "start it" in refusal("redis://no.such.host.invalid/0")


def test_a_wrong_password(own_redis: RedisServer) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("requirepass", "right")
        port = own_redis.port
        try:
            assert "refuses the password" in refusal(f"redis://:{PASSWORD}@127.0.0.1:{port}/0")
            assert "refuses the password" in refusal(f"redis://127.0.0.1:{port}/0")
            assert "refuses the password" in refusal(f"redis://ann:{PASSWORD}@127.0.0.1:{port}/0")
            opened(f"redis://:right@127.0.0.1:{port}/0").check()
        finally:
            client.config_set("requirepass", "")
    assert "refuses the password" in refusal(f"redis://ann:{PASSWORD}@127.0.0.1:{port}/0")


def test_a_database_that_there_is_not(redis_server: RedisServer) -> None:
    assert "99" in refusal(redis_server.tcp_url.replace("/0", "/99"))


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
def test_a_server_that_would_throw_data_away(redis_url: str, policy: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", policy)
    said = refusal(redis_url)
    assert policy in said
    assert "noeviction" in said


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_server_that_would_throw_data_away_where_config_is_forbidden(own_redis: RedisServer, policy: str) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory-policy", policy)
        client.acl_setuser("guest", enabled=True, passwords=["+guest"], keys=["*"], commands=["+@all", "-config"])
    assert policy in refusal(f"redis://guest:guest@127.0.0.1:{own_redis.port}/0")
    own_redis.empty()


def test_a_server_without_an_append_only_file_is_taken_with_a_warning(own_redis: RedisServer) -> None:
    store = opened(own_redis.url)
    with capture_logs() as logs:
        store.check()
    assert logs == []
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("appendonly", "no")
        with capture_logs() as logs:
            store.check()
        client.config_set("appendonly", "yes")
    assert ["append-only" in one["event"] for one in logs] == [True]
    store.close()


def test_a_server_whose_policy_cannot_be_found_out_is_taken_with_a_warning(own_redis: RedisServer) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.acl_setuser("guest", enabled=True, passwords=["+guest"], keys=["*"], commands=["+@all", "-config"])
    client = connect(f"redis://guest:guest@127.0.0.1:{own_redis.port}/0")
    client.set_response_callback("INFO", lambda *_args, **_options: {"redis_version": "7.2", "aof_enabled": 1})
    with capture_logs() as logs:
        redis_client.check(client, "here")
    assert ["maxmemory-policy" in one["event"] for one in logs] == [True]
    client.close()


def test_a_server_without_scripts(short_folder: Callable[[str], Path]) -> None:
    server = RedisServer(short_folder("poor"), "--rename-command", "EVALSHA", "")
    try:
        assert "lacks a command" in refusal(server.url)
        assert "EVALSHA" in refusal(server.url)
    finally:
        server.kill()


def test_a_server_that_lacks_what_a_script_runs(short_folder: Callable[[str], Path]) -> None:
    server = RedisServer(short_folder("poorer"), "--rename-command", "HSETNX", "")
    store = opened(server.url)
    try:
        with pytest.raises(OperatorError, match="lacks a command"):
            store.initialize(InitialPositions({"p": 0}, {}, "1"))
    finally:
        store.close()
        server.kill()


def test_a_key_that_another_program_wrote(own_redis: RedisServer) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.set(keys.state_key(0), "something else")
        store = opened(own_redis.url)
        for use in (store.bucket_states, lambda: store.initialize(InitialPositions({"p": 0}, {}, "1"))):
            with pytest.raises(OperatorError, match="a database number of its own"):
                use()
        store.close()
        client.delete(keys.state_key(0))


def test_a_server_that_does_not_tell_its_policy_is_taken(own_redis: RedisServer) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.acl_setuser("guest", enabled=True, passwords=["+guest"], keys=["*"], commands=["+@all", "-config"])
    opened(f"redis://guest:guest@127.0.0.1:{own_redis.port}/0").check()


def test_a_user_who_may_not_run_what_we_need(own_redis: RedisServer) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.acl_setuser("guest", enabled=True, passwords=["+guest"], keys=["*"], commands=["+ping"])
    assert "info" in refusal(f"redis://guest:guest@127.0.0.1:{own_redis.port}/0")


@pytest.mark.parametrize(
    ("commands", "keys"),
    [(["+@read", "+info", "+config"], ["*"]), (["+@all", "-hset"], ["*"]), (["+@all"], ["other:*"])],
    ids=["no scripts", "no writes", "other keys"],
)
def test_a_user_who_may_not_do_what_our_scripts_do(
    own_redis: RedisServer, commands: list[str], keys: list[str]
) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.acl_setuser("guest", enabled=True, passwords=["+guest"], keys=keys, commands=commands, reset=True)
    store = opened(f"redis://guest:guest@127.0.0.1:{own_redis.port}/0")
    with pytest.raises(OperatorError, match=r"Redis refuses us.*ACL SETUSER name ~sis:\* \+@all"):
        store.initialize(InitialPositions({"p": 0}, {}, "1"))
    store.close()


def test_a_user_with_what_the_message_asks_for(own_redis: RedisServer) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.acl_setuser("us", enabled=True, passwords=["+us"], keys=["sis:*"], commands=["+@all"], reset=True)
    store = opened(f"redis://us:us@127.0.0.1:{own_redis.port}/0")
    store.check()
    assert save(store, write(KEY, ABSENT, b"one")) == []
    assert store.lease("tail", "a token", 1)
    store.close()


def test_the_user_of_the_documentation_is_enough(own_redis: RedisServer) -> None:
    page = (Path(__file__).parents[5] / "docs/operations/security.md").read_text()
    statement = page.partition("```\nACL SETUSER")[2].partition("```")[0].replace("PASSWORD", "word")
    with redis.Redis.from_url(own_redis.url) as client:
        client.execute_command("ACL", "SETUSER", *statement.split())
    url = f"redis://snapshotter:word@127.0.0.1:{own_redis.port}/1"
    everything(opened(url), opened(url))
    with redis.Redis.from_url(url) as client:
        for command in (["FLUSHALL"], ["CONFIG", "SET", "maxmemory", "1"], ["GET", "other"], ["KEYS", "*"]):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)


def everything(store: RedisStore, other: RedisStore) -> None:
    """Call every operation of the store."""
    goal = RecoveryGoal({}, reconcile=False, reason="a test")
    store.check()
    store.initialize(InitialPositions({"p": 0}, {"t": "id"}, "1"))
    store.add_folder(FOLDER)
    assert save(other, write(KEY, ABSENT, b"one")) == []
    assert dict(store.scan(KEY))
    assert store.profiles(0, KEY.user_id) == [KEY]
    store.raise_epoch(bucket_of(KEY.user_id), 0, goal, InitialPositions({"p": 1}, {}, "1"))
    recovered(store, bucket_of(KEY.user_id))
    taken = claim(store, FOLDER)
    (reading,) = store.read(FOLDER.id, taken)
    store.defer(FOLDER.id, "claim", taken, NOW)
    (again,) = claim(store, FOLDER, who="again")
    store.settle(FOLDER.id, "again", [Settlement(again, reading, "hash", Published.ANNOUNCEMENT)], NEVER)
    assert store.settled(FOLDER.id, [KEY]) == ["hash"]
    assert store.folders() == [FOLDER]
    store.pending(FOLDER.id, [KEY])
    store.raise_floor(KEY.user_id, block_at(4))
    assert store.end_block(KEY.user_id, 5)
    assert store.floors(range(64)) == {KEY.user_id: 5}
    store.force(FOLDER.id, [KEY])
    store.recheck(FOLDER.id, [KEY])
    assert any(store.next_due(FOLDER.id))
    assert store.lease("tail", "token", 1)
    assert store.leased("tail")
    assert store.put_document("tail", "token", b"{}")
    assert store.document("tail") == b"{}"
    store.release("tail", "token")
    assert store.bucket_states()[0] is not None
    assert store.clock()
    assert store.remove(KEY, b"one")
    store.close()
    other.close()


def test_a_replica_is_refused(own_redis: RedisServer) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.replicaof("127.0.0.1", "1")
        assert "point REDIS_URL at its primary, 127.0.0.1:1" in refusal(own_redis.url)
        client.replicaof("NO", "ONE")


def test_a_cluster_is_refused_where_it_holds_a_part_of_the_keys(short_folder: Callable[[str], Path]) -> None:
    ports = [free_port(), free_port()]
    ours, other = (
        RedisServer(short_folder(f"cluster{port}"), "--cluster-enabled", "yes", "--cluster-port", str(port))
        for port in ports
    )
    store = opened(ours.tcp_url)
    with pytest.raises(StoreUnavailableError, match="Hash slot not served"):
        store.bucket_states()
    with redis.Redis.from_url(ours.url) as client, redis.Redis.from_url(other.url) as there:
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 8191)
        there.execute_command("CLUSTER ADDSLOTSRANGE", 8192, 16383)
        client.execute_command("CLUSTER MEET", "127.0.0.1", other.port, ports[1])
        wait_until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok", "the cluster")
    for use in (store.bucket_states, lambda: store.initialize(InitialPositions({}, {}, "1"))):
        with pytest.raises(OperatorError, match="point REDIS_URL at a server that is no cluster"):
            use()
    store.close()
    ours.kill()
    other.kill()


def test_a_server_that_still_loads_its_data_is_only_away(short_folder: Callable[[str], Path]) -> None:
    server = RedisServer(short_folder("loading"), "--key-load-delay", "100")  # microseconds for each entry
    store = opened(server.url)
    save(store, write(KEY, ABSENT, b"one"))
    with redis.Redis.from_url(server.url) as client, client.pipeline(transaction=False) as pipeline:
        for number in range(20_000):  # it answers once in a thousand
            pipeline.set(f"something else {number}", "x")
        pipeline.execute()
    server.stop()
    starting = threading.Thread(target=server.start)
    starting.start()
    said = []

    def loading() -> bool:
        try:
            store.check()
        except StoreUnavailableError as error:
            said.append(str(error))
            return True
        except OperatorError:
            pass  # not even its socket is there
        return False

    wait_until(loading, "the server says that it loads", 30)
    assert "loading" in said[0]
    with pytest.raises(StoreUnavailableError, match="loading"):
        store.load({KEY: ()})
    starting.join()
    assert store.load({KEY: ()})[KEY].version == b"one"
    store.close()
    server.kill()

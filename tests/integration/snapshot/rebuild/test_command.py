"""`snapshot-rebuild` as an operator runs it: from outside, on SQLite and PostgreSQL, on real Redis."""

import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis

from consumer.commands.admin import demo_database
from projections.comments.rows import events
from projections.database.database import open_databases
from projections.profile_key import ProfileKey
from projections.projection import Projection
from projections.store.redis.store import RedisStore, connect
from snapshot.cli.options import DatabaseOptions, FileOptions, StoreOptions
from snapshot.rebuild.command import RebuildSettings, rebuild
from snapshot.rebuild.rebuild import Order
from support.commands import Started, environment, on
from support.process import wait_until
from support.profile_files import put_profile_file
from support.rebuilding import EVERYTHING
from support.redis_server import RedisServer
from support.whiteballoon import WhiteBalloon

Rows = dict[str, dict[str, Any]]
PROGRAM = (sys.executable, "-c", "from snapshot.rebuild.command import main; main()")


def run(*words: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *words], env=env, capture_output=True, text=True, timeout=240, check=False)


def report(*words: str, env: Mapping[str, str]) -> dict[str, Any]:
    done = run(*words, "--json", env=env)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["exit_code"] == done.returncode
    return found


def lie(folder: Path) -> dict[str, tuple[bytes, int]]:
    """All files below a folder, with the times they were written at."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def dump(url: str) -> dict[bytes, object]:
    """All that lasts in a Redis; not as DUMP gives it, whose order changes while a hash table grows into its place."""
    with redis.Redis.from_url(url) as client:
        read: dict[bytes, Callable[[bytes], object]] = {
            b"hash": client.hgetall,
            b"set": client.smembers,
            b"string": client.get,
            b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        }
        return {key: read[client.type(key)](key) for key in client.scan_iter() if client.ttl(key) < 0}


def test_the_oracle_comes_out_and_the_second_run_is_in_step(
    oracle_databases: Path, tmp_path: Path, oracle_compare: Callable[[Path], None]
) -> None:
    storage, out = tmp_path / "storage", tmp_path / "out"
    env = on(oracle_databases, storage)
    first = report("--all", "--output-dir", str(out), env=env)
    assert (first["exit_code"], first["missing"], first["written"]) == (1, 1504, 1504)
    oracle_compare(out)
    before = lie(out)

    second = run("--all", "--output-dir", str(out), env=env)

    assert second.returncode == 0, second.stdout + second.stderr
    assert "in step" in second.stdout
    assert second.stderr == ""
    assert lie(out) == before
    deep = report("--all", "--deep", "--output-dir", str(out), env=env)
    assert (deep["exit_code"], deep["in_step"]) == (0, 1504)
    other = report("--all", env=env)
    assert (other["exit_code"], other["written"], other["announced"]) == (0, 1504, 0)
    group = report("--all", "--group-slug", "harvard-st-commons", "--dry-run", env=env)
    assert (group["exit_code"], group["profiles"]) == (0, sum("harvard-st-commons" in name for name in before))
    log = [json.loads(line) for line in (storage / "signal_profile_snapshot.log").read_text().splitlines()]
    assert [(one["command"], one["drift"], one["error"]) for one in log] == [
        ("snapshot-rebuild", 0, None)
        for _ in range(5)  # the first filled the store
    ]


def test_two_processes_do_the_same(
    oracle_databases: Path, tmp_path: Path, oracle_compare: Callable[[Path], None], redis_url: str
) -> None:
    env = on(oracle_databases, tmp_path / "storage", REDIS_URL=redis_url)
    out = tmp_path / "storage" / "signal_profiles"
    dry = report("--all", "--workers", "2", "--dry-run", env=env)
    assert dump(redis_url) == {}
    assert not out.exists()
    first = report("--all", "--workers", "2", env=env)
    assert (first["missing"], first["findings"]) == (dry["missing"], dry["findings"])
    oracle_compare(out)
    for words in (("--workers", "2"), ("--workers", "2", "--deep"), ("--deep",)):
        assert report("--all", *words, env=env)["exit_code"] == 0


def test_postgresql_gives_the_same(
    oracle_rows: Rows, postgres_url: str, tmp_path: Path, oracle_compare: Callable[[Path], None], redis_url: str
) -> None:
    wb = WhiteBalloon(postgres_url, postgres_url)
    wb.create()
    wb.load(oracle_rows)
    env = environment(
        DATABASE_URL=postgres_url,
        INSIGHTS_DATABASE_URL=postgres_url,
        SNAPSHOT_STORAGE_DIR=str(tmp_path / "storage"),
        REDIS_URL=redis_url,
    )
    assert report("--all", "--workers", "2", env=env)["missing"] == 1504
    oracle_compare(tmp_path / "storage" / "signal_profiles")
    assert report("--all", "--deep", env=env)["exit_code"] == 0
    comment = oracle_rows["request_comments"]["rows"][50][0]
    wb.hard_delete(comment)
    wb.edit(comment + 1, "https://new.org")
    assert report("--all", env=env)["different"] == 2
    assert report("--all", "--deep", env=env)["exit_code"] == 0


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    demo_database.create(tmp_path / "data")
    return tmp_path / "data"


def break_everything(url: str, folder: Path, data: Path) -> None:
    """A missing profile, a lost head, a lost register, wrong files, and rows that changed."""
    store = RedisStore(connect(url), 0.0, url)
    first, second, third, *_ = store.profiles(0, EVERYTHING)
    store.remove(first, store.load({first: ()})[first].version)
    with redis.Redis.from_url(url) as client:
        names = {key.decode().rpartition("p:")[2]: key for key in client.scan_iter("*:p:*")}
        wrong, lost = names[f"{second.user_id}:{second.group_slug}"], names[f"{third.user_id}:{third.group_slug}"]
        client.hdel(wrong, "h")
        client.hdel(lost, next(name for name in client.hkeys(lost) if name[:1] == b"c"))
    store.close()
    put_profile_file(folder, 1234, "nobody")
    with sqlite3.connect(data / "app.db") as connection:
        connection.execute("UPDATE request_comments SET body = 'https://edited.org' WHERE id % 7 = 0")
    connection.close()


def test_a_dry_run_names_everything_and_leaves_every_byte_as_it_was(demo: Path, tmp_path: Path, redis_url: str) -> None:
    env = on(demo, tmp_path / "storage", REDIS_URL=redis_url)
    out = tmp_path / "storage" / "signal_profiles"
    assert run("--all", env=env).returncode == 1
    break_everything(redis_url, out, demo)
    before, files = dump(redis_url), lie(out)
    for words in (("--deep",), (), ("--deep", "--workers", "2")):
        dry = report("--all", "--dry-run", *words, env=env)
        assert dry["exit_code"] == 1
        assert dry["missing"] == 1
        assert dry["different"] >= 2
        assert dry["files"]["foreign"] == 1
        assert dump(redis_url) == before
        assert lie(out) == files
    done = report("--all", "--deep", env=env)
    dry = {**dry, "comments": 0, "seconds": 0, "comments_per_second": 0}
    same = {name: value for name, value in dry.items() if name.startswith(("find", "field", "miss", "orph", "diff"))}
    assert {name: done[name] for name in same} == same
    assert report("--all", "--deep", env=env)["exit_code"] == 0


def test_a_dry_run_on_a_fresh_machine_makes_nothing_but_the_run_log(demo: Path, tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    assert report("--all", "--dry-run", env=on(demo, storage))["exit_code"] == 1
    assert [path.name for path in storage.iterdir()] == ["signal_profile_snapshot.log"]


def test_killed_at_any_moment_and_run_again_it_ends_right(
    oracle_databases: Path, tmp_path: Path, oracle_compare: Callable[[Path], None], own_redis: RedisServer
) -> None:
    out = tmp_path / "storage" / "signal_profiles"
    env = on(oracle_databases, tmp_path / "storage", REDIS_URL=own_redis.url)

    def stored() -> int:
        with redis.Redis.from_url(own_redis.url) as client:
            return sum(1 for _ in client.scan_iter("*:p:*"))

    moments: list[Callable[[], bool]] = [
        lambda: stored() > 0,
        lambda: stored() > 700,
        lambda: out.exists() and len(list(out.glob("*.json"))) > 0,
        lambda: len(list(out.glob("*.json"))) > 900,
    ]
    for number, moment in enumerate(moments):
        words = ("--all", "--workers", str(1 + number % 2))
        process = subprocess.Popen([*PROGRAM, *words], env=env, stdout=subprocess.DEVNULL)
        try:
            wait_until(moment, "the moment to kill it")
        finally:
            process.kill()
            process.wait()
    assert run("--all", env=env).returncode in (0, 1)
    oracle_compare(out)
    assert report("--all", "--deep", env=env)["exit_code"] == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_says_what_to_do_and_the_next_run_does_the_rest(
    oracle_databases: Path, tmp_path: Path, oracle_compare: Callable[[Path], None], redis_url: str, workers: str
) -> None:
    for attempt in range(10):  # on a busy machine it may end before the signal reaches it
        storage = tmp_path / f"storage-{attempt}"
        out, env = storage / "signal_profiles", on(oracle_databases, storage, REDIS_URL=redis_url)
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        process = subprocess.Popen(
            [*PROGRAM, "--all", "--workers", workers],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        wait_until(lambda out=out: out.exists() and len(list(out.glob("*.json"))) > 0, "the first files")  # type: ignore[misc]
        os.killpg(process.pid, signal.SIGINT)
        said, complained = process.communicate(timeout=60)
        if process.returncode != 1:
            break
    assert process.returncode == 130
    assert said == ""
    assert complained.splitlines() == [
        "snapshot-rebuild was interrupted; what it has repaired is kept, run it again to do the rest"
    ]
    assert run("--all", env=env).returncode in (0, 1)
    oracle_compare(out)
    log = (storage / "signal_profile_snapshot.log").read_text().splitlines()
    assert json.loads(log[0])["error"] == "interrupted"


def test_beside_a_running_daemon_it_calls_no_lag_drift(demo: Path, tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    env = on(demo, storage)
    place = storage / "signal_profiles" / "3-harvard-st-commons.json"
    with Started("snapshot-consumer", env=env, log=tmp_path / "log") as daemon:
        daemon.until(place.exists)
        stop = threading.Event()

        def write() -> None:
            for number in range(500):
                if stop.wait(0.05):
                    return
                demo_database.add_comment(demo, 3, f"number {number}", demo_database.START)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for words in ((), ("--deep",), ("--dry-run",), ("--deep", "--dry-run")):
                found = report("--all", "--lag-timeout", "20", *words, env=env)
                assert (found["exit_code"], found["missing"], found["orphaned"], found["different"]) == (0, 0, 0, 0), (
                    found
                )
        finally:
            stop.set()
            writer.join()
        time.sleep(2)
        assert daemon.terminate(10) == 0, daemon.said()
    assert report("--all", "--deep", env=env)["exit_code"] == 0


def test_while_the_consumer_applies_at_full_speed_nothing_is_lost(
    oracle_databases: Path, tmp_path: Path, oracle_compare: Callable[[Path], None], redis_url: str
) -> None:
    """Events of the very rows come in while everything is rebuilt from them; the last ones only afterwards."""
    main, insights = (f"sqlite:///{oracle_databases / name}" for name in ("app.db", "comment_llm_insights.db"))
    database = open_databases(main, insights)
    rows, analyses = (
        database.comments_after(-1, 50_000),
        {row.comment_id: row for row in database.analyses_after(-1, 50_000)},
    )
    found = list(events(rows, analyses, database.groups(), database.clock()))
    database.close()
    projection = Projection(RedisStore(connect(redis_url), 0.5, redis_url))

    def consume() -> None:
        for start in range(0, len(found), 500):
            projection.apply(found[start : start + 500])

    consumer = threading.Thread(target=consume)
    consumer.start()
    files = FileOptions(tmp_path / "storage")
    settings = RebuildSettings(
        DatabaseOptions(main, insights), files, StoreOptions(redis_url), None, deep=False, dry_run=False
    )
    rebuild(settings, Order(None))
    consumer.join()
    projection.store.close()
    again = rebuild(settings._replace(deep=True), Order(None))
    assert (again.drift, again.in_step) == (0, 1504), again.named
    oracle_compare(files.profiles)


def test_what_is_wrong_is_one_line_and_exit_code_2(demo: Path, tmp_path: Path) -> None:
    env = on(demo, tmp_path / "storage")
    cases: list[tuple[tuple[str, ...], str]] = [
        (("--user", "99999"), "user 99999 has no comment"),
        (
            ("--all", "--group-slug", "nowhere", "--output-dir", str(tmp_path / "x")),
            "there is no group 'nowhere'; the groups are:",
        ),
        (("--all", "--database-url", f"sqlite:///{tmp_path / 'none.db'}"), "does not exist"),
        (("--all", "--redis-url", "redis://127.0.0.1:1/0"), "no Redis answers"),
        (("--all", "--output-dir", str(demo / "app.db")), "can't be written"),
    ]
    for words, says in cases:
        done = run(*words, env=env)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not (tmp_path / "x").exists()
    assert run(env=env).returncode == 2
    assert run("--all", "--user", "3", env=env).returncode == 2


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_file_that_cannot_be_replaced_is_named_with_exit_code_2(
    workers: str, demo: Path, tmp_path: Path, redis_url: str
) -> None:
    env = on(demo, tmp_path / "storage", REDIS_URL=redis_url)
    assert run("--all", env=env).returncode == 1
    place = min((tmp_path / "storage" / "signal_profiles").glob("*.json"))
    place.unlink()
    place.mkdir()
    dry, done = run("--all", "--dry-run", env=env), run("--all", "--workers", workers, env=env)
    place.rmdir()
    assert (dry.returncode, dry.stderr) == (1, "")
    assert f"{place.name}  stale file" in dry.stdout
    assert (done.returncode, done.stdout) == (2, "")
    assert place.name in done.stderr
    assert "Traceback" not in done.stderr
    after = report("--all", env=env)
    assert (after["exit_code"], after["written"], place.is_file()) == (0, 1, True)


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_nobody_reading_the_report_changes_neither_exit_code_nor_log(
    words: tuple[str, ...], demo: Path, tmp_path: Path, redis_url: str
) -> None:
    env = on(demo, tmp_path / "storage", REDIS_URL=redis_url)
    for code in (1, 0):
        with subprocess.Popen(
            [*PROGRAM, "--all", *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.close()
            assert process.stderr is not None
            assert process.stderr.read() == ""
        assert process.returncode == code
    log = (tmp_path / "storage" / "signal_profile_snapshot.log").read_text().splitlines()
    assert [json.loads(line)["error"] for line in log] == [None, None]


@pytest.mark.parametrize("end", ["2>&1 | true", "2>&-", "2>/dev/full", ">&- 2>&-"])
def test_nobody_reading_the_error_does_not_make_it_a_success(end: str, tmp_path: Path) -> None:
    env = on(tmp_path / "nowhere", tmp_path / "storage")
    code = tmp_path / "code"
    script = f"{{ {shlex.join(PROGRAM)} --all; echo $? > {shlex.quote(str(code))}; }} {end}"
    subprocess.run(["/bin/sh", "-c", script], env=env, timeout=60, check=False, capture_output=True)
    assert code.read_text() == "2\n"


def test_the_deletion_guard_says_what_it_saw(oracle_databases: Path, tmp_path: Path) -> None:
    env = on(oracle_databases, tmp_path / "storage")
    assert run("--all", env=env).returncode == 1
    with sqlite3.connect(oracle_databases / "comment_llm_insights.db") as connection:
        connection.execute("DELETE FROM comment_llm_analyses")
    connection.close()
    before = lie(tmp_path / "storage" / "signal_profiles")
    done = run("--all", env=env)
    assert done.returncode == 2
    assert "tagged comments' tags" in done.stderr
    assert "--prune-all" in done.stderr
    assert lie(tmp_path / "storage" / "signal_profiles") == before
    assert run("--all", "--dry-run", env=env).returncode == 2
    assert run("--all", "--prune-all", env=env).returncode == 1
    assert run("--all", env=env).returncode == 0


def test_one_user_only(oracle_databases: Path, tmp_path: Path, redis_url: str) -> None:
    env = on(oracle_databases, tmp_path / "storage", REDIS_URL=redis_url)
    found = report("--user", "4", "--user", "7", env=env)
    assert {one["user_id"] for one in found["findings"]} == {4, 7}
    store = RedisStore(connect(redis_url), 0.5, redis_url)
    keys = store.profiles(0, EVERYTHING)
    store.close()
    assert {key.user_id for key in keys} == {4, 7}
    assert ProfileKey(4, "harvard-st-commons") in keys
    assert report("--user", "4", "--user", "7", "--deep", env=env)["exit_code"] == 0

"""`snapshot-consumer` as an operator runs it without broker and Redis: straight from the database."""

import json
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from consumer.commands.admin import demo_database
from support.commands import Started, environment, on, run
from support.process import wait_until
from support.whiteballoon import WhiteBalloon, execute

CATCH_UP = ("snapshot-consumer", "--until-caught-up")


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.glob("*.json")}


def announcements(storage: Path) -> list[dict[str, object]]:
    path = storage / "snapshot-changed.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def test_the_oracle_comes_out_and_a_second_run_rewrites_and_announces_nothing(
    oracle_databases: Path, tmp_path: Path, oracle_compare: Callable[[Path], None]
) -> None:
    env, out = on(oracle_databases, tmp_path / "storage"), tmp_path / "out"
    first = run(*CATCH_UP, "--output-dir", str(out), env=env)
    assert first.returncode == 0, first.stderr
    oracle_compare(out)
    before, announced = stamps(out), announcements(tmp_path / "storage")
    assert len(announced) == 1504

    second = run(*CATCH_UP, "--output-dir", str(out), env=env)

    assert second.returncode == 0, second.stderr
    assert "0 written" in second.stdout
    assert stamps(out) == before
    assert announcements(tmp_path / "storage") == announced


def test_killed_in_the_middle_and_started_again_it_ends_in_the_same_files(
    oracle_databases: Path, tmp_path: Path, oracle_compare: Callable[[Path], None]
) -> None:
    env, out = on(oracle_databases, tmp_path / "storage"), tmp_path / "out"
    for kill_at in (1, 400, 900):
        with Started(*CATCH_UP, "--output-dir", str(out), env=env, log=tmp_path / "log") as started:
            started.until(lambda least=kill_at: out.exists() and len(list(out.glob("*.json"))) >= least)  # type: ignore[misc]
            started.kill()
    assert run(*CATCH_UP, "--output-dir", str(out), env=env).returncode == 0
    oracle_compare(out)


@pytest.mark.parametrize("lost", [["redis"], ["redis", "signal_profiles"]], ids=["store", "store and files"])
def test_whoever_went_while_the_store_was_lost_is_removed_by_a_run_that_ends(tmp_path: Path, lost: list[str]) -> None:
    """The run is shorter than the lease of the tail, whose watermark says that nobody else's comments are to come."""
    wb = WhiteBalloon.in_folder(tmp_path / "data")
    group, users = wb.add_group("elm", "Elm St", members=5)
    comments = [wb.comment(user, group) for user in users]
    env, storage = on(tmp_path / "data", tmp_path / "storage"), tmp_path / "storage"
    assert run(*CATCH_UP, env=env).returncode == 0
    for folder in lost:
        shutil.rmtree(storage / folder)
    wb.hard_delete(comments[2])
    assert run(*CATCH_UP, env=env).returncode == 0
    assert sorted(stamps(storage / "signal_profiles")) == [f"{user}-elm.json" for user in users if user != users[2]]
    last = {one["user_id"]: one["snapshot"] for one in announcements(storage)}
    assert [user for user, snapshot in last.items() if snapshot is None] == [users[2]]
    assert len(announcements(storage)) == 6 or "signal_profiles" in lost, "what did not change is not announced again"


@pytest.mark.parametrize("noted", [True, False], ids=["as written", "by an older version"])
def test_nothing_is_shown_of_a_store_that_was_lost_before_it_is_complete_again(tmp_path: Path, noted: bool) -> None:
    """The embedded default: the tail's own document is lost with the store, only the folder can tell."""
    wb = WhiteBalloon.in_folder(tmp_path / "data")
    request, [user, other] = wb.add_group("elm", "Elm St", members=2)
    for number in range(6):
        wb.comments([comment_row(user, request, 3_000 * number + row) for row in range(3_000)])
    env, storage = on(tmp_path / "data", tmp_path / "storage", SNAPSHOT_DEBOUNCE="0"), tmp_path / "storage"
    assert run(*CATCH_UP, env=env).returncode == 0
    before = len(announcements(storage))
    shutil.rmtree(storage / "redis")
    if not noted:
        (storage / "signal_profiles" / ".signal-profiles-epochs").unlink()
    wb.comment(other, request)
    wb.comment(user, request)
    ended = run(*CATCH_UP, env=env)
    assert ended.returncode == 0, ended.stderr
    shown = {(one["user_id"], one["snapshot"]["message_count"]) for one in announcements(storage)[before:]}  # type: ignore[index]
    assert shown == {(user, 18_001), (other, 1)}
    assert "affected profiles are not published until then" in ended.stderr


def test_a_store_that_fell_back_while_no_process_ran_is_rebuilt_before_anything_is_shown(tmp_path: Path) -> None:
    """An older snapshot was restored: the same instance id in the same epoch, and less in it."""
    wb = WhiteBalloon.in_folder(tmp_path / "data")
    request, [user, other] = wb.add_group("elm", "Elm St", members=2)
    wb.comment(user, request)
    env, storage = on(tmp_path / "data", tmp_path / "storage", SNAPSHOT_DEBOUNCE="0"), tmp_path / "storage"
    assert run(*CATCH_UP, env=env).returncode == 0
    shutil.copytree(storage / "redis", tmp_path / "older")
    wb.comments([comment_row(user, request, row) for row in range(9_000)])
    gone = wb.comment(other, request)
    assert run(*CATCH_UP, env=env).returncode == 0
    assert sorted(stamps(storage / "signal_profiles")) == [f"{user}-elm.json", f"{other}-elm.json"]
    before = len(announcements(storage))
    shutil.rmtree(storage / "redis")
    shutil.copytree(tmp_path / "older", storage / "redis")
    wb.hard_delete(gone)
    wb.comment(user, request)
    ended = run(*CATCH_UP, env=env)
    assert ended.returncode == 0, ended.stderr
    assert sorted(stamps(storage / "signal_profiles")) == [f"{user}-elm.json"]
    shown = {(one["user_id"], (one["snapshot"] or {}).get("message_count")) for one in announcements(storage)[before:]}  # type: ignore[attr-defined]
    assert shown == {(user, 9_002), (other, None)}
    assert "affected profiles are not published until then" in ended.stderr


def comment_row(user: int, request: int, number: int) -> dict[str, object]:
    return {
        "user_id": user,
        "help_request_id": request,
        "body": f"number {number}",
        "created_at": demo_database.START + timedelta(seconds=number),
    }


def test_a_new_comment_is_in_its_file_within_two_seconds(tmp_path: Path) -> None:
    demo_database.create(tmp_path / "data")
    storage = tmp_path / "storage"
    place = storage / "signal_profiles" / "3-harvard-st-commons.json"
    delays = []
    with Started("snapshot-consumer", env=on(tmp_path / "data", storage), log=tmp_path / "log") as daemon:
        daemon.until(place.exists)
        time.sleep(2)
        for number in range(5):
            count = json.loads(place.read_text(encoding="utf-8"))["message_count"]
            demo_database.add_comment(tmp_path / "data", 3, f"Another one, number {number}", demo_database.START)
            began = time.monotonic()
            daemon.until(
                lambda before=count: json.loads(place.read_text(encoding="utf-8"))["message_count"] == before + 1  # type: ignore[misc]
            )
            delays.append(time.monotonic() - began)
        assert daemon.terminate(5) == 0, daemon.said()
    assert sorted(delays)[2] < 2, delays


def test_two_daemons_on_one_storage_folder_share_the_work_and_one_takes_over(tmp_path: Path) -> None:
    demo_database.create(tmp_path / "data")
    storage = tmp_path / "storage"
    place = storage / "signal_profiles" / "3-harvard-st-commons.json"
    env = on(tmp_path / "data", storage)
    with (
        Started("snapshot-consumer", env=env, log=tmp_path / "first") as first,
        Started("snapshot-consumer", env=env, log=tmp_path / "second") as second,
    ):
        first.until(place.exists)
        first.kill()
        count = json.loads(place.read_text(encoding="utf-8"))["message_count"]
        demo_database.add_comment(tmp_path / "data", 3, "Is anybody there?", demo_database.START)
        second.until(lambda: json.loads(place.read_text(encoding="utf-8"))["message_count"] == count + 1)
        assert second.terminate(5) == 0, second.said()


def test_a_group_has_a_folder_of_its_own_and_another_scope_is_refused(tmp_path: Path) -> None:
    demo_database.create(tmp_path / "data")
    env, out = on(tmp_path / "data", tmp_path / "storage"), tmp_path / "out"
    scoped = run(*CATCH_UP, "--output-dir", str(out), "--group-slug", "elm-garden", env=env)
    assert scoped.returncode == 0, scoped.stderr
    assert sorted(path.name for path in out.glob("*.json")) == sorted(
        f"{user}.json" for user in demo_database.GARDENERS
    )
    other = run(*CATCH_UP, "--output-dir", str(out), env=env)
    assert other.returncode == 2
    assert "elm-garden" in other.stderr
    assert "--output-dir" in other.stderr


def test_a_slug_that_looks_like_a_path_stays_in_the_folder(tmp_path: Path) -> None:
    demo_database.create(tmp_path / "data")
    with sqlite3.connect(tmp_path / "data" / "app.db") as database:
        database.execute(
            "UPDATE user_attributes SET key = 'signal_import_group:../../etc' "
            "WHERE user_id = 3 AND key LIKE 'signal_import_group:%'"
        )
    database.close()
    assert run(*CATCH_UP, env=on(tmp_path / "data", tmp_path / "storage")).returncode == 0
    found = [path for path in tmp_path.rglob("*.json") if "etc" in path.name]
    assert [path.name for path in found] == ["3-%2E.%2F..%2Fetc.json"]
    assert found[0].parent == tmp_path / "storage" / "signal_profiles"


def test_a_body_of_five_megabytes_is_one_comment_like_any_other(tmp_path: Path) -> None:
    demo_database.create(tmp_path / "data")
    body = "x" * 5_000_000 + " https://example.org/far\n(Reactions: Wren 👍)"
    demo_database.add_comment(tmp_path / "data", 3, body, demo_database.START)
    assert run(*CATCH_UP, env=on(tmp_path / "data", tmp_path / "storage")).returncode == 0
    profile = json.loads((tmp_path / "storage/signal_profiles/3-harvard-st-commons.json").read_text(encoding="utf-8"))
    assert profile["reaction_counts"]["👍"] >= 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"DATABASE_URL": "sqlite:////nowhere/app.db"}, ["DATABASE_URL", "/nowhere/app.db"]),
        ({"INSIGHTS_DATABASE_URL": "sqlite:////nowhere/insights.db"}, ["INSIGHTS_DATABASE_URL"]),
        ({"DATABASE_URL": "mysql//"}, ["DATABASE_URL"]),
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, ["REDIS_URL"]),
        ({"REDIS_URL": "http://127.0.0.1"}, ["REDIS_URL"]),
        ({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, ["127.0.0.1:1"]),
        ({"KAFKA_BOOTSTRAP_SERVERS": "kafka"}, ["KAFKA_BOOTSTRAP_SERVERS"]),
    ],
)
def test_what_the_operator_has_to_fix_is_one_line(settings: dict[str, str], words: list[str], tmp_path: Path) -> None:
    demo_database.create(tmp_path / "data")
    ended = run(*CATCH_UP, env=on(tmp_path / "data", tmp_path / "storage") | settings)
    assert ended.returncode == 2, ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
    assert all(word in ended.stderr for word in words), ended.stderr


def test_a_database_without_the_tables_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("app.db", "comment_llm_insights.db"):
        with sqlite3.connect(tmp_path / "data" / name) as database:
            database.execute("CREATE TABLE other (id INTEGER)")
        database.close()
    ended = run(*CATCH_UP, env=on(tmp_path / "data", tmp_path / "storage"))
    assert ended.returncode == 2
    assert "request_comments" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr


def test_help_names_every_setting_with_its_variable() -> None:
    shown = run("snapshot-consumer", "--help", env=environment(COLUMNS="200", TERMINAL_WIDTH="200")).stdout
    wanted = (
        "DATABASE_URL INSIGHTS_DATABASE_URL REDIS_URL KAFKA_BOOTSTRAP_SERVERS KAFKA_SECURITY_PROTOCOL "
        "KAFKA_SASL_MECHANISM KAFKA_SASL_USERNAME KAFKA_SASL_PASSWORD KAFKA_SSL_CAFILE SNAPSHOT_STORAGE_DIR "
        "GROUP_SLUG STATSD_HOST STATSD_PORT"
    )
    assert all(name in shown for name in wanted.split()), shown
    assert "--output-dir" in shown


def test_a_half_restored_database_ends_nothing_until_that_is_confirmed(tmp_path: Path) -> None:
    white_balloon = WhiteBalloon.in_folder(tmp_path / "data")
    request, users = white_balloon.add_group("elm", "Elm St", members=30)
    for user in users:
        white_balloon.comment(user, request)
    env, out = on(tmp_path / "data", tmp_path / "storage"), tmp_path / "out"
    words = (*CATCH_UP, "--output-dir", str(out))
    assert run(*words, env=env).returncode == 0
    execute(white_balloon.main_url, "DELETE FROM request_comments WHERE user_id <> (SELECT min(id) FROM users)")

    held = run(*words, env=env)
    assert held.returncode == 0, held.stderr
    assert "--prune-all" in held.stderr
    assert len(list(out.glob("*.json"))) == 30

    confirmed = run(*words, "--prune-all", env=env)
    assert confirmed.returncode == 0, confirmed.stderr
    assert [path.name for path in out.glob("*.json")] == [f"{users[0]}-elm.json"]


def test_ctrl_c_twice_is_an_end_in_order(tmp_path: Path) -> None:
    demo_database.create(tmp_path / "data")
    env, storage = on(tmp_path / "data", tmp_path / "storage"), tmp_path / "storage"
    with Started("snapshot-consumer", env=env, log=tmp_path / "log") as started:
        started.until(lambda: any((storage / "signal_profiles").glob("*.json")))
        started.process.send_signal(signal.SIGINT)
        time.sleep(0.05)  # else the kernel makes one of them
        started.process.send_signal(signal.SIGINT)
        assert started.process.wait(30) == 0, started.said()
    assert " events applied; profiles: " in started.said().splitlines()[-1], started.said()
    assert list(storage.glob("alive-*")) == []
    assert not (storage / "redis" / "redis.pid").exists()


def test_ctrl_c_again_later_ends_at_once_and_leaves_neither_redis_nor_a_sign_of_life(tmp_path: Path) -> None:
    demo_database.create(tmp_path / "data")
    env, storage = on(tmp_path / "data", tmp_path / "storage"), tmp_path / "storage"
    with Started("snapshot-consumer", env=env, log=tmp_path / "log") as started:
        started.until(lambda: any((storage / "signal_profiles").glob("*.json")) and any(storage.glob("alive-*")))
        redis = int((storage / "redis" / "redis.pid").read_text())
        os.kill(redis, signal.SIGSTOP)  # so the end has something to wait for
        try:
            while started.process.poll() is None:
                started.process.send_signal(signal.SIGINT)
                time.sleep(0.1)
        finally:
            os.kill(redis, signal.SIGCONT)
        assert started.process.returncode == 130, started.said()
    assert "signalled again, ending at once; what is not committed is read again" in started.said().splitlines()[-1]
    assert list(storage.glob("alive-*")) == []
    wait_until(lambda: not (storage / "redis" / "redis.pid").exists(), "the end of Redis")

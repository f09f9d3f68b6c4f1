"""`wb signal-profile snapshot` as an operator runs it."""

import hashlib
import json
import os
import pty
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner, Result

from snapshot.cli.run_log import FILE_NAME
from snapshot.files.marker import MARKER
from snapshot.wb import app
from support.commands import Started, environment, on, run
from support.whiteballoon import WhiteBalloon, file_of

WB = ("wb", "signal-profile", "snapshot")


@pytest.fixture
def balloon(tmp_path: Path) -> WhiteBalloon:
    """Two groups: elm with users 1 to 30 and oak with users 30 and 31, one tagged comment of each."""
    made = WhiteBalloon.in_folder(tmp_path / "data")
    elm, members = made.add_group("elm", "Elm Street", members=30)
    oak, (last,) = made.add_group("oak", "Oak Lane")
    made.join(members[-1], "oak", "Oak Lane")
    for user, request in [*((user, elm) for user in members), (members[-1], oak), (last, oak)]:
        made.analyse(made.comment(user, request, f"https://{user}.org/"), tags=["food"])
    return made


@pytest.fixture
def env(balloon: WhiteBalloon, tmp_path: Path) -> dict[str, str]:
    del balloon
    return on(tmp_path / "data", tmp_path / "storage")


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    return tmp_path / "storage" / "signal_profiles"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MARKER}


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.glob("*.json")}


def entries(storage: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (storage / FILE_NAME).read_text(encoding="utf-8").splitlines()]


def wb(*words: str, env: dict[str, str]) -> Result:
    """Run it in this process: a third of the time that starting one takes."""
    try:
        return CliRunner().invoke(app, ["snapshot", *words], env={**dict.fromkeys(os.environ), **env})
    finally:
        structlog.reset_defaults()  # its standard error is closed now


def done(*words: str, env: dict[str, str]) -> str:
    """Run it, and give what it printed."""
    ended = wb(*words, env=env)
    assert (ended.exit_code, ended.stderr) == (0, ""), ended.stderr
    return ended.stdout


def refused(*words: str, env: dict[str, str]) -> str:
    """Run what can't be done, and give the one line that says so."""
    ended = wb(*words, env=env)
    assert (ended.exit_code, ended.stdout) == (2, ""), ended.stdout
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr


# ------------------------------------------------------------------------------------------------------------ oracle


def test_the_oracle_comes_out_and_a_second_run_touches_no_file(
    oracle_databases: Path, tmp_path: Path, oracle_compare: Callable[[Path], None]
) -> None:
    env, out = on(oracle_databases, tmp_path / "storage"), tmp_path / "out"
    ended = run(*WB, "--all", "--output-dir", str(out), "--workers", "2", env=env)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("1,504 profiles of 1,323 users: 1,504 written, 0 unchanged, 0 removed")
    elsewhere = on(oracle_databases, tmp_path / "rebuild")
    rebuilt = run("snapshot-rebuild", "--all", "--dry-run", "--json", env=elsewhere)
    assert f"; {json.loads(rebuilt.stdout)['comments']:,} comments read in " in ended.stdout
    oracle_compare(out)
    before = stamps(out)
    assert "0 written, 1,504 unchanged" in done("--all", "--output-dir", str(out), env=env)
    assert stamps(out) == before
    first, second = entries(tmp_path / "storage")
    assert (first["profiles_written"], first["unchanged"], first["error"]) == (1504, 0, None)
    assert (second["profiles_written"], second["unchanged"], second["dry_run"]) == (0, 1504, False)


def test_a_dry_run_prints_a_groups_profiles_only_and_writes_nothing(
    oracle_databases: Path, tmp_path: Path, oracle_expected: list[dict[str, Any]]
) -> None:
    env = on(oracle_databases, tmp_path / "storage")
    ended = wb("--all", "--group-slug", "harvard-st-commons", "--dry-run", env=env)
    assert ended.exit_code == 0, ended.stderr
    printed = {json.loads(line)["user_id"]: line for line in ended.stdout.splitlines()}
    expected = {one["user_id"]: one for one in oracle_expected if one["group_slug"] == "harvard-st-commons"}
    assert printed.keys() == expected.keys()
    hashes = {user: hashlib.sha256(line.encode()).hexdigest() for user, line in printed.items()}
    agreeing = sum(hashes[user] == one["snapshot_hash"] for user, one in expected.items())
    assert agreeing > len(expected) / 2, "a line is the text that its hash is taken of"
    assert [path.name for path in (tmp_path / "storage").iterdir()] == [FILE_NAME]
    (entry,) = entries(tmp_path / "storage")
    assert (entry["dry_run"], entry["profiles_written"], entry["group_slug"]) == (True, 0, "harvard-st-commons")


def test_killed_at_any_time_it_changes_nothing_and_the_next_run_ends_right(
    oracle_databases: Path, tmp_path: Path, oracle_compare: Callable[[Path], None]
) -> None:
    env, out = on(oracle_databases, tmp_path / "storage"), tmp_path / "out"
    for prepared in (1, 700):
        with Started(*WB, "--all", "--output-dir", str(out), env=env, log=tmp_path / "log") as started:
            started.until(lambda least=prepared: len(list(out.glob(".*.tmp"))) >= least)  # type: ignore[misc]
            started.kill()
        assert not list(out.glob("*.json"))
        for left in out.glob(".*.tmp"):
            left.unlink()
    done("--all", "--output-dir", str(out), env=env)
    oracle_compare(out)


@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_terminated_it_leaves_nothing_behind_but_its_line(
    oracle_databases: Path, tmp_path: Path, number: int, code: int, said: str
) -> None:
    for attempt in range(10):  # on a busy machine it may end before the signal reaches it
        storage, out = tmp_path / f"storage-{attempt}", tmp_path / f"out-{attempt}"
        env = on(oracle_databases, storage)
        with Started(*WB, "--all", "--output-dir", str(out), env=env, log=tmp_path / "log") as started:
            started.until(lambda out=out: len(list(out.glob(".*.tmp"))) >= 1 or len(list(out.glob("*.json"))) >= 1)  # type: ignore[misc]
            started.process.send_signal(number)
            ended = started.process.wait(60)
        if ended != 0:
            break
    assert ended == code, started.said()
    assert "Traceback" not in started.said()
    assert contents(out) == {}
    assert entries(storage)[-1]["error"] == said


def test_two_runs_at_once_leave_the_same_files_and_two_lines(
    oracle_databases: Path, tmp_path: Path, oracle_compare: Callable[[Path], None]
) -> None:
    env, out = on(oracle_databases, tmp_path / "storage"), tmp_path / "out"
    words = (*WB, "--all", "--output-dir", str(out))
    with (
        Started(*words, env=env, log=tmp_path / "one") as one,
        Started(*words, env=env, log=tmp_path / "two") as two,
    ):
        assert (one.process.wait(120), two.process.wait(120)) == (0, 0), one.said() + two.said()
    oracle_compare(out)
    assert not list(out.glob(".*.tmp"))
    assert len(entries(tmp_path / "storage")) == 2


def test_postgresql(postgres_url: str, tmp_path: Path) -> None:
    balloon = WhiteBalloon(postgres_url, postgres_url)
    balloon.create()
    request, users = balloon.add_group("elm", "Elm Street", members=3)
    for user in users:
        balloon.analyse(balloon.comment(user, request), tags=["food"])
    env = environment(
        DATABASE_URL=postgres_url, INSIGHTS_DATABASE_URL=postgres_url, SNAPSHOT_STORAGE_DIR=str(tmp_path / "storage")
    )
    assert "3 profiles of 3 users: 3 written" in done("--all", env=env)


# ------------------------------------------------------------------------------------------------------- what is left


def test_one_user_alone(balloon: WhiteBalloon, env: dict[str, str], profiles: Path) -> None:
    assert "2 profiles of 1 user: 2 written" in done("--user", "30", env=env)
    assert sorted(contents(profiles)) == ["30-elm.json", "30-oak.json"]
    balloon.leave(30, "oak")
    balloon.comment(30, 1, "another")
    done("--user", "1", "--user", "2", env=env)
    assert sorted(contents(profiles)) == ["1-elm.json", "2-elm.json", "30-elm.json", "30-oak.json"]
    assert "1 written, 0 unchanged, 1 removed" in done("--user", "30", env=env)
    assert sorted(contents(profiles)) == ["1-elm.json", "2-elm.json", "30-elm.json"]
    assert json.loads((profiles / "30-elm.json").read_bytes())["message_count"] == 2


def test_the_file_of_a_user_who_left_all_groups_goes_with_the_user(
    balloon: WhiteBalloon, env: dict[str, str], profiles: Path
) -> None:
    done("--all", env=env)
    balloon.leave(1, "elm")
    assert "0 profiles of 1 user: 0 written, 0 unchanged, 1 removed" in done("--user", "1", env=env)
    assert "1-elm.json" not in contents(profiles)
    assert "user 1 is in no imported Signal group" in refused("--user", "1", env=env)


def test_files_of_profiles_that_are_no_more_go_and_others_stay(
    balloon: WhiteBalloon, env: dict[str, str], profiles: Path
) -> None:
    done("--all", env=env)
    (profiles / "notes.json").write_text("{}")
    (profiles / "77-copied.json").write_bytes((profiles / "1-elm.json").read_bytes())
    balloon.hard_delete(1)
    ended = wb("--all", env=env)
    assert ended.exit_code == 0, ended.stderr
    assert "31 unchanged, 1 removed" in ended.stdout
    assert "77-copied.json" in ended.stderr
    assert {"notes.json", "77-copied.json"} < contents(profiles).keys()
    assert "1-elm.json" not in contents(profiles)


def test_a_folder_of_one_group(env: dict[str, str], profiles: Path, tmp_path: Path) -> None:
    scoped = tmp_path / "oak"
    words = ("--group-slug", "oak", "--output-dir", str(scoped))
    assert "2 profiles of 2 users: 2 written" in done("--all", *words, env=env)
    assert sorted(contents(scoped)) == ["30.json", "31.json"]
    assert "2 unchanged" in done("--all", *words, env={**env, "GROUP_SLUG": "elm"})
    done("--all", env=env)
    assert len(contents(profiles)) == 32
    assert "the folder" in refused("--all", "--group-slug", "oak", env=env)


def test_a_damaged_file_is_written_again(env: dict[str, str], profiles: Path) -> None:
    done("--all", env=env)
    before = contents(profiles)
    (profiles / "3-elm.json").write_bytes(b'{"user_id":')
    assert "1 written, 31 unchanged" in done("--all", env=env)
    assert contents(profiles) == before


# ------------------------------------------------------------------------------------------------------- deletion guard


def test_half_a_database_changes_nothing_until_that_is_confirmed(
    balloon: WhiteBalloon, env: dict[str, str], profiles: Path, tmp_path: Path
) -> None:
    done("--all", env=env)
    before = contents(profiles)
    for user in range(1, 25):
        balloon.hard_delete(user)
    balloon.comment(29, 1, "a change that waits")
    said = refused("--all", env=env)
    assert "24 of 32 profiles" in said
    assert "--prune-all" in said
    assert contents(profiles) == before
    assert "24 of 32" in entries(tmp_path / "storage")[-1]["error"]
    assert "1 written, 7 unchanged, 24 removed" in done("--all", "--prune-all", env=env)
    assert len(contents(profiles)) == 8


def test_analyses_that_are_all_gone_change_nothing(balloon: WhiteBalloon, env: dict[str, str], profiles: Path) -> None:
    done("--all", env=env)
    before = contents(profiles)
    with balloon.insights.begin() as connection:
        connection.exec_driver_sql("DELETE FROM comment_llm_analyses")
    assert "would remove 32 of 32 tagged profiles' tags" in refused("--all", env=env)
    assert contents(profiles) == before


def test_a_request_renamed_is_deliberate(balloon: WhiteBalloon, env: dict[str, str], profiles: Path) -> None:
    done("--all", env=env)
    balloon.rename_request(1, "Elm Street is closed")
    assert "30 removed" in done("--all", env=env)
    assert sorted(contents(profiles)) == ["30-oak.json", "31-oak.json"]


# --------------------------------------------------------------------------------------------------------- bad input


def test_what_cannot_be_done_is_said_in_one_line(env: dict[str, str], tmp_path: Path) -> None:
    assert "user 99 is in no imported Signal group" in refused("--user", "99", env=env)
    assert "user 1 is not in the group 'oak'" in refused("--user", "1", "--group-slug", "oak", "--dry-run", env=env)
    assert "there is no group 'birch'; the groups are: elm, oak" in refused("--all", "--group-slug", "birch", env=env)
    missing = {**env, "DATABASE_URL": f"sqlite:///{tmp_path / 'missing.db'}"}
    assert "does not exist" in refused("--all", env=missing)
    (tmp_path / "file").touch()
    assert "can't be" in refused("--all", "--output-dir", str(tmp_path / "file" / "profiles"), env=env)
    assert len(entries(tmp_path / "storage")) == 5
    assert all(entry["error"] for entry in entries(tmp_path / "storage"))


@pytest.mark.parametrize("words", [(), ("--all", "--user", "1"), ("--user", "-1"), ("--user", "ann")])
def test_who_is_meant_has_to_be_said(words: tuple[str, ...], env: dict[str, str], tmp_path: Path) -> None:
    ended = wb(*words, env=env)
    assert ended.exit_code == 2
    assert "--user" in ended.stderr
    assert not (tmp_path / "storage").exists()


@pytest.mark.parametrize("flag", ["--output-dir", "--storage-dir"])
def test_an_empty_variable_is_no_folder(flag: str, env: dict[str, str], tmp_path: Path) -> None:
    with chdir(tmp_path):
        ended = wb("--all", flag, "", env=env)
    assert ended.exit_code == 2
    assert flag in ended.stderr
    assert "current" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_row_that_cannot_be_understood_is_left_out_and_said(
    balloon: WhiteBalloon, env: dict[str, str], profiles: Path
) -> None:
    with balloon.main.begin() as connection:
        connection.exec_driver_sql("UPDATE request_comments SET created_at = 'yesterday' WHERE id IN (1, 2)")
    ended = wb("--all", env=env)
    assert ended.exit_code == 0
    assert "2 comments have invalid rows" in ended.stdout
    warnings = [json.loads(line) for line in ended.stderr.splitlines()]
    assert ["comment 1 of user 1" in line["reason"] for line in warnings] == [True, False]
    assert "1-elm.json" not in contents(profiles)


def test_where_very_many_rows_cannot_be_understood_the_log_names_the_first(
    balloon: WhiteBalloon, env: dict[str, str]
) -> None:
    for _ in range(15):
        balloon.comment(1, 1)
    with balloon.main.begin() as connection:
        changed = connection.exec_driver_sql("UPDATE request_comments SET created_at = 'yesterday'").rowcount
    ended = wb("--all", "--workers", "1", env=env)
    assert f"{changed} comments have invalid rows" in ended.stdout
    assert changed > len(ended.stderr.splitlines()) == 10


@pytest.mark.parametrize("words", [("--dry-run",), ()])
def test_whoever_reads_may_stop_reading(words: tuple[str, ...], env: dict[str, str], tmp_path: Path) -> None:
    for end, code, error in (
        ("| true", 0, None),
        (">&-", 0, None),
        (">/dev/full", 2, "standard output can't be written (No space left on device); send it to where there is room"),
    ):
        script = f"{{ {' '.join((*WB, '--all', *words))}; echo $? > {tmp_path / 'code'}; }} {end}"
        shell = subprocess.run(
            ["/bin/sh", "-c", script],
            env={**env, "PATH": f"{_programs()}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in shell.stderr
        assert (tmp_path / "code").read_text() == f"{code}\n"
        assert entries(tmp_path / "storage")[-1]["error"] == error


def test_the_first_lines_of_many_are_whole(env: dict[str, str]) -> None:
    shell = subprocess.run(
        ["/bin/sh", "-c", f"{' '.join(WB)} --all --dry-run | head -n 1"],
        env={**env, "PATH": f"{_programs()}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert json.loads(shell.stdout)["user_id"] == 1
    assert "Traceback" not in shell.stderr


def _programs() -> Path:
    from support import commands  # noqa: PLC0415 - where the commands under test lie

    return commands.HERE


def test_on_a_terminal_a_profile_looks_as_its_file(env: dict[str, str], profiles: Path) -> None:
    done("--user", "30", env=env)
    terminal, end = pty.openpty()
    with subprocess.Popen([_programs() / "wb", *WB[1:], "--user", "30", "--dry-run"], env=env, stdout=end) as process:
        os.close(end)
        said = b""
        while True:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # how a terminal says that it was closed
                break
            said += part
    os.close(terminal)
    assert process.returncode == 0
    assert said.replace(b"\r\n", b"\n") == b"".join(contents(profiles)[f"30-{slug}.json"] for slug in ("elm", "oak"))


# ----------------------------------------------------------------------------------------------------------- metrics


def test_a_run_is_counted_and_a_server_that_is_away_costs_nothing(env: dict[str, str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        port = str(server.getsockname()[1])
        done("--all", env={**env, "STATSD_HOST": "127.0.0.1", "STATSD_PORT": port})
        received = server.recv(4096).decode().splitlines()
    assert "signal_glaze.snapshots_generated:32|c" in received
    assert "signal_glaze.runs:1|c" in received
    done("--all", env={**env, "STATSD_HOST": "127.0.0.1", "STATSD_PORT": port})
    began = time.monotonic()
    ended = wb("--all", env={**env, "STATSD_HOST": "no-such-host.invalid"})
    assert ended.exit_code == 0
    assert time.monotonic() - began < 60


def test_before_the_first_analysis_there_are_no_tags_and_after_it_their_database_must_be_there(
    balloon: WhiteBalloon, env: dict[str, str], profiles: Path, tmp_path: Path
) -> None:
    insights, away = file_of(balloon.insights_url), tmp_path / "away.db"
    insights.rename(away)
    early = wb("--all", env=env)
    assert (early.exit_code, json.loads((profiles / "1-elm.json").read_bytes())["top_tags"]) == (0, [])
    assert "no analyses yet" in early.stderr
    away.rename(insights)
    done("--all", env=env)
    written = contents(profiles)
    assert json.loads(written["1-elm.json"])["top_tags"] == [{"label": "food", "count": 1}]
    insights.rename(away)
    late = wb("--all", env=env)
    assert late.exit_code == 2
    assert "restore it, or confirm with --prune-all" in late.stderr
    assert contents(profiles) == written
    assert wb("--all", "--prune-all", env=env).exit_code == 0
    assert json.loads((profiles / "1-elm.json").read_bytes())["top_tags"] == []
    assert wb("--all", env=env).exit_code == 0

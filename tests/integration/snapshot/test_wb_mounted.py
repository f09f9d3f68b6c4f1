"""The command under another program's command line: WhiteBalloon's own `wb`."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import structlog
import typer
from typer.testing import CliRunner

from snapshot.wb import app
from support.commands import on
from support.whiteballoon import WhiteBalloon

# As a program that knows nothing of us may be: it runs at import, and has threads of its own.
FOREIGN = """
import sys, threading
import typer
from snapshot.wb import app

cli = typer.Typer()

@cli.command()
def serve() -> None:
    print("serving")

cli.add_typer(app, name="signal-profile")
if "thread" in sys.argv:
    sys.argv.remove("thread")
    threading.Thread(target=threading.Event().wait, daemon=True).start()
cli()
"""


def test_it_is_a_command_among_others(tmp_path: Path) -> None:
    balloon = WhiteBalloon.in_folder(tmp_path / "data")
    request, (user,) = balloon.add_group("elm", "Elm Street")
    balloon.comment(user, request, "hello")
    cli = typer.Typer()
    cli.command("serve")(lambda: None)
    cli.add_typer(app, name="signal-profile")
    env: dict[str, str | None] = {**dict.fromkeys(os.environ), **on(tmp_path / "data", tmp_path / "storage")}

    listed = CliRunner().invoke(cli, ["--help"])
    assert "serve" in listed.stdout
    assert "signal-profile" in listed.stdout
    written = CliRunner().invoke(cli, ["signal-profile", "snapshot", "--all"], env=env)
    refused = CliRunner().invoke(cli, ["signal-profile", "snapshot", "--user", "99"], env=env)
    structlog.reset_defaults()

    assert (written.exit_code, written.stderr) == (0, "")
    assert "1 profile of 1 user: 1 written" in written.stdout
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert json.loads((tmp_path / "storage" / "signal_profiles" / "1-elm.json").read_bytes())["message_count"] == 1


def test_the_other_programs_main_and_threads_are_left_alone(
    oracle_databases: Path, tmp_path: Path, oracle_compare: Callable[[Path], None]
) -> None:
    script = tmp_path / "wb.py"
    script.write_text(FOREIGN)
    for number, thread in enumerate(([], ["thread"])):
        out = tmp_path / f"out{number}"
        words = ["signal-profile", "snapshot", "--all", "--workers", "2", "--output-dir", str(out), *thread]
        ended = subprocess.run(
            [sys.executable, "-W", "error", script, *words],
            env=on(oracle_databases, tmp_path / "storage"),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
        oracle_compare(out)


def test_warnings_stay_out_of_the_output(tmp_path: Path) -> None:
    balloon = WhiteBalloon.in_folder(tmp_path / "data")
    request, (user,) = balloon.add_group("elm", "Elm Street")
    balloon.comment(user, request, "hello")
    broken = balloon.comment(user, request, "hello")
    with balloon.main.begin() as connection:
        connection.exec_driver_sql("UPDATE request_comments SET created_at = 'yesterday' WHERE id = ?", (broken,))
    script = tmp_path / "wb.py"
    script.write_text(FOREIGN)
    ended = subprocess.run(
        [sys.executable, script, "signal-profile", "snapshot", "--all", "--dry-run"],
        env=on(tmp_path / "data", tmp_path / "storage"),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(ended.stdout)["message_count"] == 1
    assert f"comment {broken} of user {user}" in ended.stderr


# As WhiteBalloon's own is: argparse takes the first word, click has the rest.
HANDED_OVER = """
import argparse, sys
import click
from snapshot.wb import run

@click.group()
def dev() -> None: ...

@dev.command("signal-profile", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def signal_profile(rest: tuple[str, ...]) -> None:
    sys.exit(run(rest))

parser = argparse.ArgumentParser(prog="wb")
parser.add_argument("command")
parser.add_argument("rest", nargs=argparse.REMAINDER)
args = parser.parse_args()
if args.command == "dev":
    dev(args.rest)
assert args.command == "signal-profile"
code = run(args.rest)
print(f"run gave {code!r}")
sys.exit(code)
"""


def test_argparse_and_click_hand_over_to_it(tmp_path: Path) -> None:
    balloon = WhiteBalloon.in_folder(tmp_path / "data")
    request, (user,) = balloon.add_group("elm", "Elm Street")
    balloon.comment(user, request, "hello")
    script = tmp_path / "wb.py"
    script.write_text(HANDED_OVER)

    def wb(*words: str) -> tuple[int, list[str], list[str]]:
        env = on(tmp_path / "data", tmp_path / "storage", COLUMNS="200")
        ended = subprocess.run([sys.executable, script, *words], env=env, capture_output=True, text=True, check=False)
        return ended.returncode, ended.stdout.splitlines(), ended.stderr.splitlines()

    code, output, errors = wb("signal-profile", "snapshot", "--all")
    assert (code, output[1:], errors) == (0, ["run gave 0"], [])
    assert output[0].startswith("1 profile of 1 user: 1 written")
    code, output, errors = wb("dev", "signal-profile", "snapshot", "--all", "--dry-run")
    assert (code, [json.loads(line)["message_count"] for line in output], len(errors)) == (0, [1], 1)
    for words in (["snapshot", "--user", "99"], ["snapshot", "--user", "x"], ["nothing"], ["snapshot"]):
        code, output, errors = wb("signal-profile", *words)
        assert (code, output, len(errors)) == (2, ["run gave 2"], 1), words
    assert "wb signal-profile snapshot [OPTIONS]" in "".join(wb("signal-profile", "snapshot", "--help")[1])

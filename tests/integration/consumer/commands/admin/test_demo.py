"""What `make demo` shows."""

import json
import signal
from pathlib import Path

import pytest

from support.commands import Started, environment, run


def test_the_demo_shows_profiles_and_the_one_that_changed_whatever_its_folder_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "josé's [bold] #1 %20"
    for _ in range(2):
        shown = run("snapshot-admin", "demo", "--folder", str(folder), env=environment(COLUMNS="80"))
        assert shown.returncode == 0, shown.stderr
        place = folder / "storage" / "signal_profiles" / "3-harvard-st-commons.json"
        assert str(place) in shown.stdout
        assert "Top link" in shown.stdout
        profile = json.loads(place.read_text(encoding="utf-8"))
        assert profile["last_seen_at"] == "2024-06-10T12:00:00"


def test_the_demo_on_an_ascii_terminal_shows_what_it_can(tmp_path: Path) -> None:
    ascii_only = environment(COLUMNS="120", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    shown = run("snapshot-admin", "demo", "--folder", str(tmp_path / "demo"), env=ascii_only)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.isascii()
    assert "Top link" in shown.stdout
    assert "Juniper Vale" in shown.stdout


@pytest.mark.parametrize("there", ["data/app.db", "storage/redis", "storage/signal_profiles"])
def test_ctrl_c_ends_the_demo_without_a_traceback(tmp_path: Path, there: str) -> None:
    command = ("snapshot-admin", "demo", "--folder", str(tmp_path / "demo"))
    with Started(*command, env=environment(), log=tmp_path / "log") as demo:
        demo.until((tmp_path / "demo" / there).exists)
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(30) == 130, demo.said()
    assert "Traceback" not in demo.said()


def test_the_demo_spares_a_folder_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("dear to me")
    refused = run("snapshot-admin", "demo", "--folder", str(tmp_path), env=environment())
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr
    assert (tmp_path / "mine").read_text() == "dear to me"

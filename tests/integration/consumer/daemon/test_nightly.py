"""PROFILE_SIGNAL_GLAZE=1: the daemon reconciles by itself, at the times of SNAPSHOT_SCHEDULE."""

import json
from pathlib import Path

from consumer.commands.admin import demo_database
from support.commands import Started, on, run


def runs(storage: Path) -> list[dict[str, object]]:
    log = storage / "signal_profile_snapshot.log"
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []


def test_the_daemon_reconciles_when_the_time_has_come(tmp_path: Path) -> None:
    demo_database.create(tmp_path / "data")
    storage = tmp_path / "storage"
    env = on(tmp_path / "data", storage, PROFILE_SIGNAL_GLAZE="1", SNAPSHOT_SCHEDULE="* * * * *")
    with Started("snapshot-consumer", env=env, log=tmp_path / "log") as daemon:
        daemon.until(lambda: bool(runs(storage)), timeout=100)
        assert daemon.terminate(5) == 0, daemon.said()
    (first, *_) = runs(storage)
    assert first["command"] == "snapshot-rebuild"
    assert first["error"] is None
    assert first["drift"] == 0


def test_a_schedule_that_is_none_is_said_in_one_line(tmp_path: Path) -> None:
    demo_database.create(tmp_path / "data")
    env = on(tmp_path / "data", tmp_path / "storage", PROFILE_SIGNAL_GLAZE="1", SNAPSHOT_SCHEDULE="nightly")
    ended = run("snapshot-consumer", env=env)
    assert ended.returncode == 2
    assert "SNAPSHOT_SCHEDULE" in ended.stderr

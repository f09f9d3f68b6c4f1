"""`snapshot-admin check`: what is there with its version, and what is missing with the fix."""

from pathlib import Path

from support import community
from support.commands import environment, run


def test_all_is_there(tmp_path: Path) -> None:
    made = community.create(tmp_path)
    found = {one["what"]: one["said"] for one in made.admin_json("check")}
    assert found["database"].startswith("sqlite 3.")
    assert "2 users in groups" in found["database"]
    assert found["store"].startswith(("Redis ", "Valkey "))
    assert found["store"].endswith("in use")
    assert found["profiles"].endswith("all groups")


def test_nothing_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    env = environment(
        DATABASE_URL=f"sqlite:///{tmp_path}/none.db",
        REDIS_URL="redis://:secret@127.0.0.1:1",
        KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1",
        SNAPSHOT_STORAGE_DIR=str(tmp_path / "file"),
    )
    ended = run("snapshot-admin", "check", env=env)
    assert ended.returncode == 1
    lines = [line.split("\t") for line in ended.stdout.splitlines()]
    assert [(line[0], line[1]) for line in lines[1:]] == [
        ("ok", "this program"),
        *(("MISSING", what) for what in ("storage folder", "profiles", "store", "database", "Kafka")),
    ]
    assert "secret" not in ended.stdout
    assert "correct REDIS_URL" in lines[4][2]
    assert not (tmp_path / "none.db").exists()

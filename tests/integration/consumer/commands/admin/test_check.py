"""`snapshot-admin check`: what is there with its version, and what is missing with the fix."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support import community
from support.commands import HERE, environment, run


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


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="it takes root's rights")
def test_a_folder_that_can_t_be_entered_is_a_line_among_the_others(tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    (storage / "signal_profiles").mkdir(parents=True)
    storage.chmod(0)
    env = environment(SNAPSHOT_STORAGE_DIR=str(storage), DATABASE_URL=f"sqlite:///{tmp_path}/none.db")
    # Root is let in everywhere by these rights alone.
    held = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    words = [*held, str(HERE / "snapshot-admin"), "check"]
    ended = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    storage.chmod(0o700)
    assert (ended.returncode, ended.stderr) == (1, "")
    lines = {what: (state, said) for state, what, said in (line.split("\t") for line in ended.stdout.splitlines())}
    assert list(lines)[1:] == ["this program", "storage folder", "profiles", "store", "database"]
    for what, (state, said) in list(lines.items())[3:5]:
        assert state == "MISSING", what
        assert "can't be looked at (Permission denied): let this user enter" in said


def test_a_damaged_marker_is_missing_as_the_consumer_refuses_it(tmp_path: Path) -> None:
    made = community.create(tmp_path)
    marker = made.storage / "signal_profiles" / ".signal-profiles"
    marker.write_text("garbage")
    (profiles,) = [one for one in made.admin_json("check", code=1) if not one["ok"]]
    assert profiles["what"] == "profiles"
    assert f"the marker {marker} is damaged" in profiles["said"]
    assert profiles["said"] in run("snapshot-consumer", "--until-caught-up", env=made.env).stderr
    for words in (["diff", made.ben], ["forget", made.ben, "--force"]):
        assert f"the marker {marker} is damaged" in made.admin(*words, code=2)
    marker.write_bytes(b"")  # as one that is just being made
    assert made.admin_json("check")[2]["said"].endswith("without a marker yet")

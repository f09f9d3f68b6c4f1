"""`wb signal-profile freshness` on SQLite and on PostgreSQL."""

import json
import socket
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from projections.whiteballoon import HIGHLIGHTS, user_profile_highlights
from snapshot.direct import build_snapshots, open_session
from support.commands import on, run
from support.whiteballoon import WhiteBalloon

FRESHNESS = ("wb", "signal-profile", "freshness")


def fill(balloon: WhiteBalloon) -> None:
    """Two groups, three people, a highlight of each."""
    balloon.create()
    elm, (ann, ben) = balloon.add_group("elm", "Elm Street", members=2)
    oak, (cem,) = balloon.add_group("oak", "Oak Lane")
    for user, request in ((ann, elm), (ben, elm), (cem, oak)):
        balloon.comment(user, request, "hello")
    HIGHLIGHTS.create_all(balloon.main)
    with open_session(balloon.main, balloon.insights) as session:
        (now,) = build_snapshots(ann, session)
    note(balloon.main, ann, "elm", now.snapshot_hash, now.last_seen_at)
    note(balloon.main, ben, "elm", now.snapshot_hash, datetime(2020, 1, 1))  # noqa: DTZ001 - as stored
    note(balloon.main, cem, "left", None, None)


def note(engine: Engine, user: int, group: str, digest: str | None, seen: datetime | None) -> None:
    row = {"user_id": user, "source_group": group, "snapshot_hash": digest, "snapshot_last_seen_at": seen}
    with engine.begin() as connection:
        connection.execute(user_profile_highlights.insert(), row)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    fill(WhiteBalloon.in_folder(tmp_path / "data"))
    return on(tmp_path / "data", tmp_path / "storage")


def test_what_is_stale_is_listed_counted_and_sent_and_nothing_is_written(env: dict[str, str], tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(30)
        port = str(statsd.getsockname()[1])
        listed = run(*FRESHNESS, env={**env, "STATSD_HOST": "127.0.0.1", "STATSD_PORT": port})
        while b"signal_glaze.highlights_stale:2|g" not in statsd.recv(4096):
            continue  # counters come first, as zero; the socket's time limit ends this
    assert (listed.returncode, listed.stderr) == (1, "")
    assert listed.stdout.splitlines()[1:] == [
        "2\telm\tchanged\t2020-01-01 00:00:00\t2024-06-01 09:00:02",
        "3\tleft\tno snapshot\t\t",
        "3 highlights: 1 fresh, 2 stale",
    ]
    found = json.loads(run(*FRESHNESS, "--json", env=env).stdout)
    assert [one["reason"] for one in found["stale"]] == ["changed", "no snapshot"]
    assert not (tmp_path / "storage").exists()
    assert {path: path.read_bytes() for path in (tmp_path / "data").iterdir()} == before


@pytest.mark.parametrize("stored", ["no time" * 9, "0001-01-01T00:00:00+10:00"])
def test_what_is_no_time_is_shown_as_it_is_stored(stored: str, env: dict[str, str], tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'data' / 'app.db'}")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE user_profile_highlights SET snapshot_last_seen_at = ?", (stored,))
    engine.dispose()
    assert f"1\telm\tlast seen differs\t{stored[:32]}\t2024-06-01" in run(*FRESHNESS, env=env).stdout
    stale = json.loads(run(*FRESHNESS, "--json", env=env).stdout)["stale"]
    assert {one["highlight_last_seen_at"] for one in stale} == {stored[:32]}


def test_all_fresh_is_exit_code_0_and_no_table_is_said_in_one_line(env: dict[str, str], tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'data' / 'app.db'}")
    with engine.begin() as connection:
        connection.execute(user_profile_highlights.delete().where(user_profile_highlights.c.user_id > 1))
    fresh = run(*FRESHNESS, env=env)
    assert (fresh.returncode, fresh.stdout) == (0, "1 highlight: 1 fresh, 0 stale\n")
    HIGHLIGHTS.drop_all(engine)
    engine.dispose()
    refused = run(*FRESHNESS, env=env)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "has no table user_profile_highlights" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_postgresql(postgres_url: str, tmp_path: Path) -> None:
    fill(WhiteBalloon(postgres_url, postgres_url))
    env = on(tmp_path, tmp_path / "storage") | {"DATABASE_URL": postgres_url, "INSIGHTS_DATABASE_URL": postgres_url}
    found = json.loads(run(*FRESHNESS, "--json", env=env).stdout)
    assert (found["highlights"], found["fresh"]) == (3, 1)
    assert found["stale"][0]["highlight_last_seen_at"] == "2020-01-01T00:00:00"

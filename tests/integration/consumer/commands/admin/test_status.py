"""`snapshot-admin status`: the processes that run, what is behind, and what fails, without and with Kafka."""

import json
import shutil
import signal
from pathlib import Path

from consumer.kafka.topics import ensure_topics
from projections.watermark import TAIL
from snapshot.cli.options import FileOptions, StoreOptions
from snapshot.cli.resources import open_store
from snapshot.kafka.settings import KafkaSettings
from support import community
from support.commands import Started, on, run
from support.kafka_topics import put
from support.whiteballoon import WhiteBalloon


def test_a_consumer_that_runs_and_one_that_was_killed(tmp_path: Path) -> None:
    made = community.create(tmp_path)
    before = made.admin_json("status", code=1)
    assert before["problems"][0] == "no consumer is at work: start snapshot-consumer"
    with Started("snapshot-consumer", env=made.env, log=tmp_path / "log") as consumer:
        consumer.until(lambda: made.admin_json("status", code=None)["processes"] != [])
        consumer.until(lambda: made.admin_json("status", code=None)["problems"] == [])
        status = made.admin_json("status")
        (process,) = status["processes"]
        assert (process["program"], process["pid"]) == ("snapshot-consumer", consumer.process.pid)
        assert process["beating"]
        assert status["database"]["followed"]
        assert status["database"]["polled_seconds"] < 60
        assert [(one["due"], one["group_slug"]) for one in status["folders"]] == [(0, None)]
        said = made.admin("status")
        assert said.startswith("all is well\n")
        assert f" {consumer.process.pid}\t" in said
        said = made.admin("status", "--health")
        assert said.startswith("alive: ")
        assert made.admin_json("status", "--health") == {"alive": True, "said": said.strip()}
        assert "either --watch or --health" in made.admin("status", "--health", "--watch", code=2)

        shutil.rmtree(made.storage / "signal_profiles")
        (made.storage / "signal_profiles").write_text("in the way")
        made.balloon.comment(made.ben, made.elm, "more")
        consumer.until(lambda: made.admin_json("status", code=None)["failures"] > 0)
        failed = made.admin_json("status", code=1)
        assert f"{made.ben}:elm" in failed["failed"]
        assert any("can't be used" in one or "can't be written" in one for one in failed["troubles"])
        consumer.process.send_signal(signal.SIGKILL)
        consumer.process.wait()
        assert made.admin("status", "--health", code=1).startswith("no process of ours runs on this host")
        assert made.admin_json("status", "--health", code=1)["alive"] is False
        assert [one["pid"] for one in made.admin_json("status", code=1)["processes"]] == [consumer.process.pid]


def test_kafka_s_lag_in_events_and_seconds(tmp_path: Path, fresh_kafka: str, kafka_client: str) -> None:
    made = community.create(tmp_path)
    env = {**made.env, "KAFKA_BOOTSTRAP_SERVERS": fresh_kafka, "KAFKA_CLIENT": kafka_client}
    ensure_topics(KafkaSettings(bootstrap_servers=fresh_kafka))
    put(fresh_kafka, "comment-created", b"{}", b"{}")
    put(fresh_kafka, "insight-created.dead", b"{}")
    status = made._replace(env=env).admin_json("status", code=1)
    behind = [one for one in status["kafka"]["partitions"] if one["events"]]
    assert sum(one["events"] for one in behind) == 2
    assert {one["partition"].split("/")[0] for one in behind} == {"comment-created"}
    assert all(0 <= one["seconds"] < 600 for one in behind)
    assert status["dead_letters"] == 1
    assert "nobody follows the database: start snapshot-relay" in status["problems"]
    away = run("snapshot-admin", "status", env={**env, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    assert away.returncode == 1
    assert "Kafka can't be reached" in away.stdout


def test_after_a_first_fill_by_a_rebuild_nothing_was_looked_at_and_nothing_drifted(tmp_path: Path) -> None:
    balloon = WhiteBalloon.in_folder(tmp_path / "data")
    elm, (ann,) = balloon.add_group("elm", "Elm", members=1)
    balloon.comment(ann, elm)
    env = on(tmp_path / "data", tmp_path / "storage")
    assert run("snapshot-rebuild", "--all", env=env).returncode == 1
    said = run("snapshot-admin", "status", env=env).stdout
    assert "not followed, never polled, never swept whole\n" in said
    assert "1 user checked, 0 profiles drifted\n" in said
    with open_store(StoreOptions(None), FileOptions(tmp_path / "storage")) as opened:
        assert opened.store.lease(TAIL, "a tail", 60)
        assert opened.store.put_document(TAIL, "a tail", b'{"polled_until": 0, "swept_until": 0}')
    database = json.loads(run("snapshot-admin", "status", "--json", env=env).stdout)["database"]
    assert (database["polled_seconds"], database["swept_seconds"]) == (None, None)

"""`snapshot-admin dead-letters` on real Kafka, and on the file where there is none."""

import json
import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from subprocess import CompletedProcess

import msgspec
import pytest
from kafka import KafkaAdminClient

from consumer.commands.admin import demo_database
from consumer.dead_letters.file import FileDeadLetters
from consumer.dead_letters.kafka import KafkaDeadLetters
from consumer.kafka.topics import ensure_topics
from consumer.source import Invalid
from projections.comments.events import CommentCreated, encode
from snapshot.kafka.producer import Producer
from snapshot.kafka.settings import CLIENTS, KafkaSettings
from support.commands import HERE, Started, environment, on, run
from support.kafka_topics import everything, put
from support.whiteballoon import START

DEAD = "comment-created.dead"
REFUSED = ("snapshot-admin", "dead-letters")


def comment(number: int) -> bytes:
    return encode(
        CommentCreated(
            comment_id=number,
            user_id=3,
            group_slug="harvard-st-commons",
            help_request_id=1,
            body="hello",
            created_at=START,
            revision=number,
        )
    )


def invalid(offset: int, value: bytes | None, topic: str = "comment-created") -> Invalid:
    return Invalid(topic, 2, offset, b"3", value, [("ce_type", b"x"), ("raw", b"\xff")], "no user_id")


LETTERS = [invalid(7, b"{not json"), invalid(8, comment(900)), invalid(9, b"\xff\xfe"), invalid(8, comment(900))]
"""The second is an event by now, as after a fix of the code; it was kept twice, as after a crash."""


class Place:
    """Dead letters that are kept, and the commands on them."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = dict(env)

    def command(self, *words: str, code: int = 0) -> CompletedProcess[str]:
        ended = run(*REFUSED, *words, env=self.env)
        assert ended.returncode == code, ended.stderr + ended.stdout
        return ended

    def listed(self) -> list[str]:
        lines = self.command("list").stdout.splitlines()
        return [] if lines == ["no dead letters"] else [line.split("  ")[0] for line in lines]


@pytest.fixture(params=[*CLIENTS, "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Four letters of three messages, and a topic or file of another kind that must stay."""
    demo_database.create(tmp_path / "data")
    env = on(tmp_path / "data", tmp_path / "storage")

    def moment() -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC)

    if request.param == "file":
        FileDeadLetters(tmp_path / "storage" / "dead-letters.jsonl", moment).send(LETTERS)
        (tmp_path / "storage" / "redis").mkdir()
        return Place(env)
    bootstrap = request.getfixturevalue("fresh_kafka")
    settings = KafkaSettings(bootstrap_servers=bootstrap)
    ensure_topics(settings, partitions=3)
    producer = Producer(settings, delivery_timeout=20)
    KafkaDeadLetters(producer, moment).send(LETTERS)
    producer.close()
    servers = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "REDIS_URL": request.getfixturevalue("redis_url")}
    return Place(env | servers | {"KAFKA_CLIENT": request.param})


def test_each_is_listed_once_with_its_origin_time_and_reason(place: Place) -> None:
    first, *others = place.command("list").stdout.splitlines()
    assert first == "comment-created/2/7  2026-01-02T00:00:00+00:00  no user_id"
    assert [line.split("  ")[0] for line in others] == ["comment-created/2/8", "comment-created/2/9"]


def test_one_is_shown_whole(place: Place) -> None:
    shown = json.loads(place.command("show", "comment-created/2/9").stdout)
    assert shown == {
        "error": "no user_id",
        "topic": "comment-created",
        "partition": 2,
        "offset": 9,
        "time": "2026-01-02T00:00:00+00:00",
        "key": "3",
        "value_base64": "//4=",
        "headers": [{"name": "ce_type", "value": "x"}, {"name": "raw", "value_base64": "/w=="}],
    }


def test_all_of_it_as_json(place: Place) -> None:
    listed = json.loads(place.command("list", "--json").stdout)
    assert listed[0] == {"id": "comment-created/2/7", "time": "2026-01-02T00:00:00+00:00", "error": "no user_id"}
    ids = [one["id"] for one in listed]
    assert ids == ["comment-created/2/7", "comment-created/2/8", "comment-created/2/9"]
    (shown,) = json.loads(place.command("show", ids[2], "--json").stdout)
    assert shown == json.loads(place.command("show", ids[2]).stdout)
    replayed = json.loads(place.command("replay", "--all", "--json", code=1).stdout)
    assert (replayed["replayed"], [one["id"] for one in replayed["refused"]]) == (1, [ids[0], ids[2]])
    assert json.loads(place.command("drop", "--all", "--json").stdout) == {"dropped": 3}
    assert json.loads(place.command("list", "--json").stdout) == []


def test_nothing_is_replayed_into_a_store_that_nobody_made(tmp_path: Path) -> None:
    FileDeadLetters(tmp_path / "dead-letters.jsonl", lambda: datetime.now(UTC)).send([invalid(8, comment(900))])
    ended = Place(environment(SNAPSHOT_STORAGE_DIR=str(tmp_path))).command("replay", "--all", code=2)
    assert ended.stderr.startswith(f"there is no store in {tmp_path / 'redis'}: set SNAPSHOT_STORAGE_DIR or REDIS_URL")
    assert not (tmp_path / "redis").exists()


def test_what_is_dropped_is_gone_and_all_else_stays_however_often(place: Place) -> None:
    shown = place.command("show", "comment-created/2/7", "comment-created/2/9").stdout
    assert "1 dropped" in place.command("drop", "comment-created/2/8").stdout
    assert place.listed() == ["comment-created/2/7", "comment-created/2/9"]
    assert place.command("show", "comment-created/2/7", "comment-created/2/9").stdout == shown
    again = place.command("drop", "comment-created/2/8", code=2)
    assert again.stderr.startswith("there is no dead letter comment-created/2/8")
    assert place.listed() == ["comment-created/2/7", "comment-created/2/9"]
    place.command("drop", "--all")
    assert place.listed() == []
    assert "0 dropped" in place.command("drop", "--all").stdout


def test_replayed_are_those_that_are_events_by_now_and_twice_changes_nothing(place: Place, tmp_path: Path) -> None:
    daemon = ("snapshot-consumer", "--until-caught-up")
    for _ in range(2):
        ended = place.command("replay", "--all", code=1)
        assert "comment-created/2/7 is still no event: " in ended.stdout
        assert "1 replayed, 2 are still no events" in ended.stdout
        assert place.listed() == [f"comment-created/2/{number}" for number in (7, 8, 9)]
    place.command("replay", "comment-created/2/8")
    if "KAFKA_BOOTSTRAP_SERVERS" in place.env:
        assert [one.value for one in everything(place.env["KAFKA_BOOTSTRAP_SERVERS"], "comment-created")] == [
            comment(900)
        ] * 3
        assert run(*daemon, env=place.env).returncode == 0
        profile = tmp_path / "storage/signal_profiles/3-harvard-st-commons.json"
        assert json.loads(profile.read_text(encoding="utf-8"))["message_count"] == 1


def test_nothing_named_is_refused_and_no_broker_is_one_line(place: Place) -> None:
    assert "name dead letters" in place.command("drop", code=2).stderr
    assert "name dead letters" in place.command("replay", code=2).stderr
    if "KAFKA_BOOTSTRAP_SERVERS" in place.env:
        place.env["KAFKA_BOOTSTRAP_SERVERS"] = "127.0.0.1:1"
        for words in (["list"], ["drop", "--all"], ["replay", "--all"]):
            assert len(place.command(*words, code=2).stderr.splitlines()) == 1


def test_a_letter_of_which_a_part_was_kept_is_not_replayed(fresh_kafka: str, tmp_path: Path) -> None:
    settings = KafkaSettings(bootstrap_servers=fresh_kafka)
    with KafkaAdminClient(bootstrap_servers=fresh_kafka) as client:
        client.create_topics({DEAD: {"num_partitions": 1, "configs": {"max.message.bytes": "2000000"}}})
    ensure_topics(settings)
    producer = Producer(settings, delivery_timeout=20)
    KafkaDeadLetters(producer, lambda: datetime.now(UTC)).send([invalid(1, comment(1) + b" " * 3_000_000)])
    producer.close()
    place = Place(on(tmp_path, tmp_path / "storage", KAFKA_BOOTSTRAP_SERVERS=fresh_kafka))
    assert "only a part of its" in place.command("replay", "--all", code=1).stdout


def test_a_message_of_another_program_among_the_dead_letters_harms_nothing(fresh_kafka: str, tmp_path: Path) -> None:
    ensure_topics(KafkaSettings(bootstrap_servers=fresh_kafka))
    put(fresh_kafka, DEAD, b"whatever")
    place = Place(on(tmp_path, tmp_path / "storage", KAFKA_BOOTSTRAP_SERVERS=fresh_kafka))
    assert place.listed() == [f"{DEAD}/0/0"]
    assert f"{DEAD} is no topic of events" in place.command("replay", "--all", code=1).stdout
    place.command("drop", "--all")


def test_the_consumer_waits_while_dead_letters_can_not_be_kept(
    fresh_kafka: str, redis_url: str, tmp_path: Path
) -> None:
    demo_database.create(tmp_path / "data")
    env = on(tmp_path / "data", tmp_path / "storage", KAFKA_BOOTSTRAP_SERVERS=fresh_kafka, REDIS_URL=redis_url)
    profile = tmp_path / "storage" / "signal_profiles" / "3-harvard-st-commons.json"

    def count() -> int:
        return int(json.loads(profile.read_text(encoding="utf-8"))["message_count"]) if profile.exists() else 0

    ensure_topics(KafkaSettings(bootstrap_servers=fresh_kafka), partitions=1)
    put(fresh_kafka, "comment-created", comment(1))
    with Started("snapshot-consumer", env=env, log=tmp_path / "log") as daemon:
        daemon.until(lambda: count() == 1)
        with KafkaAdminClient(bootstrap_servers=fresh_kafka) as client:
            client.delete_topics([DEAD])
        put(fresh_kafka, "comment-created", b"{not json", comment(2))
        daemon.until(lambda: f"{DEAD} did not accept a dead letter" in daemon.said())
        assert count() == 1, "the rest of its batch waits"
        ensure_topics(KafkaSettings(bootstrap_servers=fresh_kafka))
        daemon.until(lambda: count() == 2)
        assert daemon.terminate(10) == 0, daemon.said()
    [line] = [one for one in daemon.said().splitlines() if "put among the dead letters" in one]
    logged = msgspec.json.decode(line)
    assert (logged["topic"], logged["offset"]) == ("comment-created", 1)
    assert "malformed" in logged["reason"]
    [dead] = everything(fresh_kafka, DEAD)
    assert dead.value == b"{not json"


def test_a_reader_that_leaves_early_is_no_failure(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words: list[str | Path] = [HERE / "snapshot-admin", "dead-letters", "list", "--storage-dir", tmp_path]
    ended = subprocess.run(words, env=environment(), stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_list_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    words: list[str | Path] = [HERE / "snapshot-admin", "dead-letters", "list", "--storage-dir", tmp_path]
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(words, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("standard output can't be written (No space left on device)")
    assert len(ended.stderr.splitlines()) == 1

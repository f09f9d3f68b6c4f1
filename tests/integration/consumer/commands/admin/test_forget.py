"""`snapshot-admin forget` on real Redis, with real Kafka and without: nothing of the person is left anywhere."""

import fcntl
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import redis

from consumer.commands.admin import demo_database
from consumer.dead_letters.file import FileDeadLetters
from consumer.dead_letters.kafka import KafkaDeadLetters
from consumer.kafka.topics import ensure_topics
from consumer.source import Invalid
from snapshot.files.marker import BlockedInMarker
from snapshot.kafka.producer import Producer
from snapshot.kafka.settings import CLIENTS, KafkaSettings
from support.commands import Started, on, run
from support.kafka_topics import announced, everything
from support.process import wait_until

USER, OTHER = 3, 33
LABEL, HOST = "label-of-3-only", "only-3-links-there.example"
SO_MANY, COMMENTS = 20, 60
KEY = "3-harvard-st-commons.json"


def letter(user: int) -> Invalid:
    value = b'{"user_id": %d, "body": "%s' % (user, LABEL.encode() if user == USER else b"of another")
    return Invalid("comment-created", 0, user, b"%d" % user, value, [], "cut off")


class Place:
    """An installation in which user 3 has a profile with a label and a link of their own."""

    def __init__(self, folder: Path, redis_url: str, bootstrap: str | None, client: str = "") -> None:
        self.data, self.storage, self.redis_url, self.bootstrap = (
            folder / "data",
            folder / "storage",
            redis_url,
            bootstrap,
        )
        self.log = folder / "log"
        demo_database.create(self.data)
        self.env = on(self.data, self.storage, REDIS_URL=redis_url)
        if bootstrap is not None:
            self.env |= {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "KAFKA_CLIENT": client}
            ensure_topics(KafkaSettings(bootstrap_servers=bootstrap), partitions=2)
        at = datetime(2024, 6, 10, 12)  # noqa: DTZ001  UTC, as stored
        for _ in range(SO_MANY):  # so that both are among the most frequent
            demo_database.add_comment(self.data, USER, f"see https://{HOST}/x", at, tags=(LABEL,))
        self.consume()
        self._send([letter(USER), letter(OTHER)])

    def consume(self) -> None:
        for program in ("snapshot-relay", "snapshot-consumer")[self.bootstrap is None :]:
            ended = run(program, "--until-caught-up", env=self.env)
            assert ended.returncode == 0, ended.stderr

    def _send(self, letters: list[Invalid]) -> None:
        if self.bootstrap is None:
            FileDeadLetters(self.storage / "dead-letters.jsonl", lambda: datetime.now(UTC)).send(letters)
            return
        producer = Producer(KafkaSettings(bootstrap_servers=self.bootstrap), delivery_timeout=20)
        KafkaDeadLetters(producer, lambda: datetime.now(UTC)).send(letters)
        producer.close()

    def forget(self, *words: str, code: int = 0) -> CompletedProcess[str]:
        ended = run("snapshot-admin", "forget", str(USER), *words, env=self.env)
        assert ended.returncode == code, ended.stderr + ended.stdout
        return ended

    def receipt(self, *words: str, code: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.forget(*words, code=code).stdout)
        return found

    def delete_rows(self) -> None:
        with closing(sqlite3.connect(self.data / "app.db")) as database:
            database.execute("DELETE FROM request_comments WHERE user_id = ?", (USER,))
            database.commit()

    def rebuild(self) -> Mapping[str, Any]:
        ended = run("snapshot-rebuild", "--all", "--json", env=self.env)
        found: dict[str, Any] = json.loads(ended.stdout)
        assert ended.returncode == found["exit_code"], ended.stderr
        return found

    @property
    def file(self) -> Path:
        return self.storage / "signal_profiles" / KEY

    def in_redis(self) -> list[str]:
        """Keys that hold the user's id, label or host, but for the floor."""
        with redis.Redis.from_url(self.redis_url) as client:
            return [key for key, content in sorted(_contents(client)) if _names_user(key, content)]

    def in_files(self) -> list[str]:
        """Files that hold the user's label, host or announcements."""
        marks = (LABEL.encode(), HOST.encode(), b'"user_id":%d,' % USER, b'"user_id": %d,' % USER)
        files = [path for path in self.storage.rglob("*") if path.is_file()]
        return [path.name for path in files if any(mark in path.read_bytes() for mark in marks)]

    def dead_letters(self) -> list[str]:
        lines = run("snapshot-admin", "dead-letters", "list", env=self.env).stdout.splitlines()
        return [line.split("  ")[0] for line in lines]


def _contents(client: Any) -> Iterator[tuple[str, list[bytes]]]:  # noqa: ANN401  redis-py's types say bytes or text
    readers = {b"hash": client.hgetall, b"zset": lambda key: client.zrange(key, 0, -1), b"set": client.smembers}
    for key in client.scan_iter():
        kind = client.type(key)
        found = client.get(key) if kind == b"string" else readers.get(kind, lambda _key: ())(key)
        parts = found.items() if isinstance(found, dict) else [(found or b"",)] if kind == b"string" else [found]
        yield key.decode(), [part for each in parts for part in each]


def _names_user(key: str, content: list[bytes]) -> bool:
    mine = b"%d:" % USER
    known = any(mark.encode() in part for part in content for mark in (LABEL, HOST))
    listed = any(part.startswith(mine) or part == b"%d" % USER for part in content)
    return known or f":p:{USER}:" in key or (listed and not key.endswith(":floors") and ":mark" not in key)


@pytest.fixture(params=[*CLIENTS, "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> Place:
    if request.param == "file":
        return Place(tmp_path, redis_url, None)
    return Place(tmp_path, redis_url, request.getfixturevalue("fresh_kafka"), request.param)


def check_forgotten(place: Place) -> None:
    assert place.in_redis() == []
    assert place.in_files() == []
    assert place.dead_letters() == [f"comment-created/0/{OTHER}"]
    if place.bootstrap is not None:
        assert dict(announced(place.bootstrap))["3:harvard-st-commons"] is None, "a tombstone is the last record"
        letters = everything(place.bootstrap, "comment-created.dead")
        assert [one.key for one in letters] == [b"33"]


def test_nothing_is_left_of_a_person_whose_rows_are_gone(place: Place) -> None:
    assert place.in_redis()
    assert KEY in place.in_files()
    refused = place.forget(code=2)
    assert refused.stderr.splitlines()[-1].startswith(f"the database still has {COMMENTS} comments of user 3")
    assert place.file.exists()
    place.delete_rows()
    receipt = place.receipt()
    assert (receipt["complete"], receipt["blocked"]) == (True, False)
    check_forgotten(place)
    removed = {one["what"]: one for one in receipt["removed"]}
    assert removed["profiles"]["count"] == 1
    assert removed["registers of comments, with their labels"]["count"] == COMMENTS
    assert removed["file"]["where"] == str(place.file)
    assert "dead letters" in removed
    if place.bootstrap is not None:
        [until] = {one["until"] for one in receipt["remaining"] if one["where"].endswith("comment-created")}
        assert datetime.fromisoformat(until) > datetime.now(UTC)
    assert place.rebuild()["exit_code"] == 0
    again = place.receipt()
    assert (again["complete"], again["removed"]) == (True, [])
    check_forgotten(place)


def test_a_blocked_person_stays_away_until_the_block_ends(place: Place) -> None:
    receipt = place.receipt("--force")
    assert (receipt["complete"], receipt["blocked"], receipt["floor"]) == (True, True, None)
    for _ in range(2):
        check_forgotten(place)
        report = place.rebuild()
        assert (report["exit_code"], report["events"]) == (0, 0), "their rows are no drift"
        at = datetime(2024, 6, 11)  # noqa: DTZ001  UTC, as stored
        demo_database.add_comment(place.data, USER, "later", at, tags=(LABEL,))
        place.consume()
    if place.bootstrap is None:
        assert run("wb", "signal-profile", "snapshot", "--all", env=place.env).returncode == 0
        assert not place.file.exists(), "the folder knows it"
    undone = json.loads(place.forget("--undo").stdout)
    assert undone["blocked"] is False
    assert place.rebuild()["missing"] == 1
    assert json.loads(place.file.read_bytes())["message_count"] == COMMENTS + 2
    assert place.rebuild()["exit_code"] == 0
    assert "is not blocked" in place.forget("--undo", code=2).stderr


def test_a_running_daemon_brings_nothing_back_and_publishes_again_after_the_block(
    tmp_path: Path, redis_url: str
) -> None:
    place = Place(tmp_path, redis_url, None)
    for number in range(400):  # so that the deletion guard lets the rows of user 3 go
        demo_database.add_comment(place.data, 5, f"{number}", datetime(2024, 6, 12))  # noqa: DTZ001  UTC, as stored
    with Started("snapshot-consumer", env=place.env, log=place.log) as daemon:
        daemon.until(lambda: "tailing the database" in daemon.said())
        place.receipt("--force")
        check_forgotten(place)
        with redis.Redis.from_url(redis_url) as client:
            client.flushdb()
        daemon.until(lambda: "recovered" in daemon.said())
        assert place.in_redis() == [], "the folder knew it"
        assert not place.file.exists()
        place.forget("--undo")
        daemon.until(place.file.exists)
        place.delete_rows()
        receipt = place.receipt()
        assert receipt["complete"], receipt
        check_forgotten(place)
        daemon.until(lambda: place.in_redis() == [])
        assert daemon.terminate(20) == 0


def test_what_kafka_has_of_a_blocked_person_stays_out_of_a_store_that_is_lost(
    tmp_path: Path, redis_url: str, fresh_kafka: str
) -> None:
    place = Place(tmp_path, redis_url, fresh_kafka, CLIENTS[0])
    place.receipt("--force")
    with Started("snapshot-consumer", env=place.env, log=place.log) as daemon:
        daemon.until(lambda: "caught up" in daemon.said())
        with redis.Redis.from_url(redis_url) as client:
            client.flushdb()
        daemon.until(lambda: "recovered" in daemon.said())
        assert daemon.terminate(20) == 0
    check_forgotten(place)


def test_a_folder_that_a_short_rebuild_makes_remembers_who_is_blocked(tmp_path: Path, redis_url: str) -> None:
    place = Place(tmp_path, redis_url, None)
    place.receipt("--force")
    other = tmp_path / "other"
    env = {**place.env, "SNAPSHOT_OUTPUT_DIR": str(other)}
    assert run("snapshot-rebuild", "--user", str(OTHER), env=env).returncode == 2, "there is no such user"
    assert run("snapshot-rebuild", "--user", "1", env=env).returncode in {0, 1}
    assert BlockedInMarker(other).get() == {USER}
    (other / ".signal-profiles").write_text("{")
    shown = run("wb", "signal-profile", "snapshot", "--user", str(USER), "--dry-run", env=env)
    assert shown.returncode == 2
    assert "is damaged" in shown.stderr


def test_the_folder_of_another_scope_is_cleaned_where_the_store_knows_it(tmp_path: Path, redis_url: str) -> None:
    place = Place(tmp_path, redis_url, None)
    elsewhere = tmp_path / "elsewhere"
    scoped = {**place.env, "GROUP_SLUG": "harvard-st-commons", "SNAPSHOT_OUTPUT_DIR": str(elsewhere)}
    assert run("snapshot-rebuild", "--all", env=scoped).returncode == 0
    foreign, damaged = elsewhere / "33.json", elsewhere / "3-notes.json"
    foreign.write_text("{}")
    damaged.write_text(LABEL)
    unseen = {**place.env, "SNAPSHOT_OUTPUT_DIR": str(tmp_path / "unseen")}
    assert run("snapshot-rebuild", "--all", env=unseen).returncode == 0
    (tmp_path / "unseen").rename(tmp_path / "another host")
    place.delete_rows()
    receipt = place.receipt()
    assert not (elsewhere / "3.json").exists()
    assert (elsewhere / "1.json").exists()
    assert foreign.exists()
    remaining = {one["where"]: one for one in receipt["remaining"]}
    assert remaining[str(damaged)]["ends"] == "look at it, and remove it"
    [other] = [where for where in remaining if where.startswith("folder ") and str(tmp_path / "unseen") in where]
    assert "when a consumer or a rebuild next runs there" in remaining[other]["ends"]
    (tmp_path / "another host").rename(tmp_path / "unseen")
    assert run("snapshot-rebuild", "--all", env=unseen).returncode == 0
    assert not (tmp_path / "unseen" / KEY).exists()
    place.receipt()
    check_forgotten(place)


def test_a_run_that_was_killed_is_completed_by_the_next(tmp_path: Path, redis_url: str) -> None:
    place = Place(tmp_path, redis_url, None)
    place.delete_rows()
    lines = place.storage / "snapshot-changed.jsonl"
    with lines.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # it stops where it would append to this file
        with Started("snapshot-admin", "forget", str(USER), env=place.env, log=place.log) as killed:
            wait_until(lambda: not _profiles(place), "the profile is removed")
            killed.kill()
    assert lines.name in place.in_files()
    assert place.receipt()["complete"]
    check_forgotten(place)


def _profiles(place: Place) -> list[str]:
    with redis.Redis.from_url(place.redis_url) as client:
        return [key.decode() for key in client.scan_iter(f"*:p:{USER}:*")]


def test_the_log_of_a_private_redis_is_written_again(tmp_path: Path) -> None:
    demo_database.create(tmp_path / "data")
    at = datetime(2024, 6, 10, 12)  # noqa: DTZ001  UTC, as stored
    demo_database.add_comment(tmp_path / "data", USER, f"see https://{HOST}/x", at, tags=(LABEL,))
    env = on(tmp_path / "data", tmp_path / "storage")
    assert run("snapshot-consumer", "--until-caught-up", env=env).returncode == 0

    def logs() -> bool:
        files = (tmp_path / "storage" / "redis").rglob("*")
        return any(LABEL.encode() in path.read_bytes() for path in files if path.is_file())

    assert logs()
    assert run("snapshot-admin", "forget", str(USER), "--force", env=env).returncode == 0
    assert not logs()


def test_no_store_is_made_where_none_was_unless_its_folder_says_that_it_was_lost(tmp_path: Path) -> None:
    demo_database.create(tmp_path / "data")
    storage = tmp_path / "storage"
    env = on(tmp_path / "data", storage)
    for words in ([str(USER)], ["99999999"], [str(USER), "--force"], [str(USER), "--undo"]):
        ended = run("snapshot-admin", "forget", *words, env=env)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith(f"there is no store in {storage / 'redis'}: set SNAPSHOT_STORAGE_DIR or REDIS_")
        assert ended.stderr.endswith("make this folder first\n")
    assert not storage.exists()
    assert run("wb", "signal-profile", "snapshot", "--all", env=env).returncode == 0
    file = storage / "signal_profiles" / KEY
    assert file.exists()
    (storage / "redis").mkdir()
    ended = run("snapshot-admin", "forget", str(USER), "--force", env=env)
    assert json.loads(ended.stdout)["complete"], ended.stderr
    assert not file.exists()
    assert BlockedInMarker(storage / "signal_profiles").get() == {USER}

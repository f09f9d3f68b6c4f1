"""`snapshot-consumer` on real Kafka and real Redis."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import redis

from consumer.relay.event_producer import EventProducer
from projections.comments.events import CommentCreated, encode
from projections.database.database import open_databases
from snapshot.kafka.producer import Producer
from snapshot.kafka.settings import CLIENTS, KAFKA_PYTHON, LIBRDKAFKA, KafkaSettings
from support.commands import Started, on, run
from support.kafka_topics import announced, everything, publish_history, put
from support.redis_server import RedisServer
from support.whiteballoon import START, WhiteBalloon

CATCH_UP = ("snapshot-consumer", "--until-caught-up")


@pytest.fixture
def oracle_stream(oracle_databases: Path, fresh_kafka: str) -> str:
    """The oracle's history on Kafka; `host:port`."""
    urls = [f"sqlite:///{oracle_databases / name}" for name in ("app.db", "comment_llm_insights.db")]
    with open_databases(*urls) as database:
        assert publish_history(database, fresh_kafka) > 40_000
    return fresh_kafka


@pytest.fixture
def settings(oracle_databases: Path, tmp_path: Path, fresh_kafka: str, redis_url: str) -> dict[str, str]:
    return on(oracle_databases, tmp_path / "storage", KAFKA_BOOTSTRAP_SERVERS=fresh_kafka, REDIS_URL=redis_url)


def comment(number: int, user_id: int = 1, **further: object) -> CommentCreated:
    event = CommentCreated(
        comment_id=number,
        user_id=user_id,
        group_slug="elm",
        help_request_id=1,
        body=f"https://example.org/{number}",
        created_at=START,
        revision=number,
    )
    return msgspec.structs.replace(event, **further)


def profile(tmp_path: Path, name: str = "1-elm.json") -> dict[str, object]:
    found: dict[str, object] = json.loads((tmp_path / "storage/signal_profiles" / name).read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(("one", "other"), [CLIENTS, CLIENTS[::-1]])
def test_the_oracle_comes_out_and_a_second_run_rewrites_and_announces_nothing(  # noqa: PLR0913, PLR0917 - fixtures
    oracle_stream: str,
    settings: dict[str, str],
    tmp_path: Path,
    oracle_compare: Callable[[Path], None],
    one: str,
    other: str,
) -> None:
    """The second run is of the other client: it finds topics, positions and topic ids as it would have left them."""
    out = tmp_path / "out"
    first = run(*CATCH_UP, "--output-dir", str(out), env=settings | {"KAFKA_CLIENT": one})
    assert first.returncode == 0, first.stderr
    oracle_compare(out)
    records = announced(oracle_stream)
    assert len(records) >= 1504
    assert {f"{v['user_id']}:{v['group_slug']}" for _, v in records if v is not None} == {key for key, _ in records}
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.json")}

    second = run(*CATCH_UP, "--output-dir", str(out), env=settings | {"KAFKA_CLIENT": other})

    assert second.returncode == 0, second.stderr
    assert "recreated" not in second.stderr
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.json")} == before
    assert len(announced(oracle_stream)) == len(records)


def test_two_consumers_one_of_them_killed_end_in_the_same_files(
    oracle_stream: str, settings: dict[str, str], tmp_path: Path, oracle_compare: Callable[[Path], None]
) -> None:
    """Members of one group with different clients; librdkafka goes on where kafka-python was killed."""
    assert oracle_stream
    out = tmp_path / "out"
    words = ("snapshot-consumer", "--output-dir", str(out))
    with (
        Started(*words, env=settings | {"KAFKA_CLIENT": KAFKA_PYTHON}, log=tmp_path / "one") as one,
        Started(*words, env=settings | {"KAFKA_CLIENT": LIBRDKAFKA}, log=tmp_path / "two"),
    ):
        one.until(lambda: out.exists() and len(list(out.glob("*.json"))) >= 200)
        one.kill()
        assert run(*CATCH_UP, "--output-dir", str(out), env=settings).returncode == 0
    ended = run(*CATCH_UP, "--output-dir", str(out), env=settings)
    assert ended.returncode == 0, ended.stderr
    oracle_compare(out)


def test_what_is_no_event_becomes_a_dead_letter_and_the_rest_goes_on(
    settings: dict[str, str], fresh_kafka: str, tmp_path: Path
) -> None:
    assert run(*CATCH_UP, env=settings).returncode == 0  # makes the topics
    put(fresh_kafka, "comment-created", b"{not json", encode(comment(1)), b'{"comment_id": "x"}', b"\xff\xfe")
    ended = run(*CATCH_UP, env=settings)
    assert ended.returncode == 0, ended.stderr
    assert profile(tmp_path)["message_count"] == 1
    dead = everything(fresh_kafka, "comment-created.dead")
    assert sorted(one.value for one in dead) == sorted([b"{not json", b'{"comment_id": "x"}', b"\xff\xfe"])
    assert all("dead-letter-error" in dict(one.headers) for one in dead)


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_an_event_with_an_unknown_field_nested_deep_is_a_dead_letter_and_stops_nothing(
    settings: dict[str, str], fresh_kafka: str, tmp_path: Path, depth: int
) -> None:
    assert run(*CATCH_UP, env=settings).returncode == 0
    deep = encode(comment(2))[:-1] + b',"unknown":' + b"[" * depth + b"]" * depth + b"}"
    put(fresh_kafka, "comment-created", encode(comment(1)), deep, encode(comment(3)))
    ended = run(*CATCH_UP, env=settings)
    assert ended.returncode == 0, ended.stderr
    assert profile(tmp_path)["message_count"] == 2
    assert [one.value for one in everything(fresh_kafka, "comment-created.dead")] == [deep]
    [line] = [line for line in ended.stderr.splitlines() if "put among the dead letters" in line]
    logged = json.loads(line)
    assert (logged["topic"], logged["partition"] >= 0, logged["offset"]) == ("comment-created", True, 1)


def test_a_topic_full_of_garbage_stops_the_daemon_with_a_word(settings: dict[str, str], fresh_kafka: str) -> None:
    assert run(*CATCH_UP, env=settings).returncode == 0
    put(fresh_kafka, "comment-created", *[b"garbage"] * 50)
    ended = run(*CATCH_UP, env=settings)
    assert ended.returncode == 2
    assert "dead letters" in ended.stderr


def test_a_body_of_five_megabytes_passes_through_kafka(
    settings: dict[str, str], fresh_kafka: str, tmp_path: Path
) -> None:
    assert run(*CATCH_UP, env=settings).returncode == 0
    producer = EventProducer(Producer(KafkaSettings(bootstrap_servers=fresh_kafka), delivery_timeout=20))
    producer.send([comment(1, body="x" * 5_000_000 + "\nhttps://example.org/end")])
    producer.close()
    assert run(*CATCH_UP, env=settings).returncode == 0
    assert profile(tmp_path)["top_links"] == [{"url": "https://example.org/end", "domain": "example.org", "count": 1}]


def test_redis_away_for_a_while_costs_nothing_but_time(
    oracle_databases: Path,
    oracle_stream: str,
    own_redis: RedisServer,
    tmp_path: Path,
    oracle_compare: Callable[[Path], None],
) -> None:
    env = on(oracle_databases, tmp_path / "storage", KAFKA_BOOTSTRAP_SERVERS=oracle_stream, REDIS_URL=own_redis.url)
    out = tmp_path / "out"
    with Started("snapshot-consumer", "--output-dir", str(out), env=env, log=tmp_path / "log") as daemon:
        daemon.until(lambda: out.exists() and len(list(out.glob("*.json"))) >= 100)
        own_redis.kill()
        daemon.until(lambda: "nothing is consumed meanwhile" in daemon.said())
        own_redis.start()
        daemon.until(lambda: len(list(out.glob("*.json"))) == 1504)
        assert daemon.terminate(5) == 0, daemon.said()
    assert run(*CATCH_UP, "--output-dir", str(out), env=env).returncode == 0
    oracle_compare(out)


def test_a_store_that_was_emptied_under_a_running_daemon_recovers(
    oracle_databases: Path,
    oracle_stream: str,
    own_redis: RedisServer,
    tmp_path: Path,
    oracle_compare: Callable[[Path], None],
) -> None:
    env = on(oracle_databases, tmp_path / "storage", KAFKA_BOOTSTRAP_SERVERS=oracle_stream, REDIS_URL=own_redis.url)
    out = tmp_path / "out"
    with Started("snapshot-consumer", "--output-dir", str(out), env=env, log=tmp_path / "log") as daemon:
        daemon.until(lambda: out.exists() and len(list(out.glob("*.json"))) == 1504)
        own_redis.empty()
        daemon.until(lambda: "lost data" in daemon.said())
        daemon.until(lambda: "recovered: the lost data" in daemon.said())
        assert daemon.terminate(5) == 0, daemon.said()
    ended = run(*CATCH_UP, "--output-dir", str(out), env=env)
    assert ended.returncode == 0, ended.stderr
    oracle_compare(out)


def test_a_redis_that_refuses_the_password_is_one_line(own_redis: RedisServer, tmp_path: Path) -> None:
    WhiteBalloon.in_folder(tmp_path / "data")
    client = redis.Redis.from_url(own_redis.url)
    client.config_set("requirepass", "right")
    client.close()
    url = own_redis.url.replace("://", "://:wrong@")
    ended = run(*CATCH_UP, env=on(tmp_path / "data", tmp_path / "storage", REDIS_URL=url))
    assert ended.returncode == 2
    assert "password" in ended.stderr
    assert "wrong@" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr

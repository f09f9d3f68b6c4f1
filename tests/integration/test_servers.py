"""The servers under the other tests: real, fresh, and back with their data after a kill."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
import sqlalchemy
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from support.kafka_broker import Broker
from support.process import wait_until
from support.redis_server import RedisServer

CHECKOUT = Path(__file__).parents[2]


def test_redis_keeps_what_it_acknowledged_over_a_restart_on_the_same_address(own_redis: RedisServer) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.set("a", 1)
        client.config_set("appendfsync", "always")
        client.set("b", 2)
        own_redis.kill()
        own_redis.start()
        assert client.mget("a", "b") == [b"1", b"2"]


@pytest.mark.parametrize("_round", [1, 2])
def test_redis_is_empty_for_each_test(redis_url: str, _round: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "over")


@pytest.mark.parametrize("_round", [1, 2])
def test_kafka_has_no_topic_of_another_test(fresh_kafka: str, _round: int) -> None:
    with KafkaAdminClient(bootstrap_servers=fresh_kafka) as client:
        assert [name for name in client.list_topics() if not name.startswith("__")] == []
        client.create_topics({"comment-created": {"num_partitions": 2}}, wait_for_metadata=True)
    produce(fresh_kafka, b"1")
    assert consume(fresh_kafka) == [b"1"]


def test_kafka_keeps_its_records_when_killed(own_kafka: Broker) -> None:
    with KafkaAdminClient(bootstrap_servers=own_kafka.bootstrap) as client:
        client.create_topics({"comment-created": {"num_partitions": 1}}, wait_for_metadata=True)
    produce(own_kafka.bootstrap, b"1")
    own_kafka.kill()
    own_kafka.start()
    produce(own_kafka.bootstrap, b"2")
    assert consume(own_kafka.bootstrap) == [b"1", b"2"]


def produce(bootstrap: str, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    producer.send("comment-created", value, partition=0).get(30)
    producer.close()


def consume(bootstrap: str) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    partition = TopicPartition("comment-created", 0)
    consumer.assign([partition])
    consumer.seek_to_beginning()
    end = consumer.end_offsets([partition])[partition]
    values: list[bytes] = []
    while len(values) < end:
        values += [record.value for record in consumer.poll(1000).get(partition, [])]
    consumer.close()
    return values


@pytest.mark.parametrize("_round", [1, 2])
def test_postgresql_gives_each_test_an_empty_database(postgres_url: str, _round: int) -> None:
    engine = sqlalchemy.create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE comments (id integer)"))
        assert connection.scalar(sqlalchemy.text("SELECT count(*) FROM comments")) == 0
    engine.dispose()


STARTER = """
import sys, time
from pathlib import Path
from support.redis_server import RedisServer
print(RedisServer(Path(sys.argv[1])).pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="util-linux ties a server's life to its starter's")
def test_a_killed_test_run_leaves_no_server(short_folder: Callable[[str], Path]) -> None:
    paths = os.pathsep.join(str(path) for path in (CHECKOUT, CHECKOUT / "tests"))
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(short_folder("left"))],
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    server = int(starter.stdout.readline())
    assert alive(server)
    starter.kill()
    starter.communicate()
    wait_until(lambda: not alive(server), "the server to end with its starter")


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody asked about yet has an empty command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_oracle_finds_a_missing_profile(oracle_compare: Callable[[Path], None], tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="1504 expected, 0 found"):
        oracle_compare(tmp_path)


def test_the_oracle_s_databases_are_sqlite(oracle_databases: Path) -> None:
    assert sorted(path.name for path in oracle_databases.iterdir()) == ["app.db", "comment_llm_insights.db"]

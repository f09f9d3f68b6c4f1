"""compose.yaml as a whole: an event of its Kafka, or a comment in its PostgreSQL, becomes a file, and is announced."""

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer

from projections.comments.events import COMMENT_CREATED, CommentCreated, encode
from support.process import free_port, wait_until
from support.services import missing

pytestmark = pytest.mark.docker

CHECKOUT = Path(__file__).parents[2]
COMMENT = CommentCreated(
    comment_id=1,
    user_id=7,
    group_slug="harvardstcommons",
    help_request_id=3,
    body="See https://partiful.com/e/1",
    created_at=datetime(2024, 5, 1, 12),  # noqa: DTZ001  events carry UTC without a zone
    revision=1,
)


class Stack:
    """A project of its own, on free ports, so that one that runs already is left alone."""

    def __init__(self) -> None:
        self._project = f"sis-test-{os.getpid()}"
        self.kafka = f"127.0.0.1:{free_port()}"
        ports = {"SNAPSHOT_KAFKA_PORT": self.kafka.split(":")[1]}
        others = ("REDIS", "POSTGRES", "PROMETHEUS", "GRAFANA")
        ports |= {f"SNAPSHOT_{name}_PORT": str(free_port()) for name in others}
        self.prometheus = f"http://127.0.0.1:{ports['SNAPSHOT_PROMETHEUS_PORT']}"
        self._environment = os.environ | ports

    def compose(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", "compose", "-p", self._project, *command],
            cwd=CHECKOUT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def up(self, *words: str, profiles: tuple[str, ...] = ()) -> None:
        """`docker compose up -d --wait` with these words, to its end."""
        chosen = [word for profile in profiles for word in ("--profile", profile)]
        up = self.compose(*chosen, "up", "-d", "--wait", "--wait-timeout", "180", *words)
        assert up.returncode == 0, up.stderr[-3000:] + self.compose("logs", "--tail", "50").stdout

    def containers(self, *services: str) -> list[dict[str, Any]]:
        """What `docker compose ps` says of all that are there, running or not."""
        listed = self.compose("ps", "--all", "--format", "json", *services)
        return [json.loads(line) for line in listed.stdout.splitlines()]

    def inspect(self, container: str) -> dict[str, Any]:
        done = subprocess.run(["docker", "inspect", container], capture_output=True, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)[0]
        return found

    def read(self, path: str) -> str | None:
        """A file of the consumer's container, or None."""
        done = self.compose("exec", "-T", "consumer", "cat", path)
        return None if done.returncode else done.stdout


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    found = Stack()
    try:
        found.up("--build")  # PostgreSQL has no tables yet
        yield found
    finally:
        every = ("--profile", "demo", "--profile", "observability")
        found.compose(*every, "down", "-v", "--remove-orphans", "--rmi", "local", "--timeout", "5")


def test_the_image_has_labels_a_health_check_and_no_rights(stack: Stack) -> None:
    (container,) = stack.containers("consumer")
    found = stack.inspect(container["ID"])
    assert found["Config"]["Healthcheck"]["Test"] == ["CMD", "snapshot-admin", "status", "--health"]
    assert found["Config"]["Labels"]["org.opencontainers.image.licenses"] == "MIT"
    assert (found["Config"]["User"], found["HostConfig"]["ReadonlyRootfs"]) == ("snapshot", True)
    assert stack.compose("exec", "-T", "consumer", "id", "-u").stdout.strip() == "10001"
    assert stack.compose("exec", "-T", "consumer", "touch", "/anything").returncode
    assert stack.compose("exec", "-T", "consumer", "python", "-c", "import confluent_kafka").returncode == 0


def test_the_relay_waits_healthy_for_tables(stack: Stack) -> None:
    (container,) = stack.containers("relay")
    assert (container["State"], container["Health"]) == ("running", "healthy")
    assert "has none of WhiteBalloon's tables" in stack.compose("logs", "relay").stdout


def test_a_comment_becomes_a_profile(stack: Stack) -> None:
    producer = KafkaProducer(bootstrap_servers=stack.kafka, acks="all")
    producer.send(COMMENT_CREATED, encode(COMMENT), key=b"7").get(30)
    producer.close()
    path = "/storage/signal_profiles/7-harvardstcommons.json"
    try:
        wait_until(lambda: stack.read(path) is not None, f"{path} in the consumer's container")
    except TimeoutError as error:
        pytest.fail(f"{error}\n{stack.compose('logs', '--tail', '50', 'consumer').stdout}")
    profile = json.loads(stack.read(path) or "")
    assert (profile["message_count"], profile["top_links"][0]["domain"]) == (1, "partiful.com")


def test_data_survive_a_restart_of_everything(stack: Stack) -> None:
    restarted = stack.compose("restart")
    assert restarted.returncode == 0, restarted.stderr
    again = stack.compose("up", "-d", "--wait", "--wait-timeout", "120")
    assert again.returncode == 0, again.stderr
    assert stack.read("/storage/signal_profiles/7-harvardstcommons.json") is not None
    assert stack.compose("exec", "-T", "redis", "redis-cli", "dbsize").stdout.strip() != "0"


def test_what_the_demo_writes_becomes_files_and_announcements_of_three_consumers(stack: Stack) -> None:
    stack.up("--scale", "consumer=3", profiles=("demo",))
    path = "/storage/signal_profiles/3-harvard-st-commons.json"
    wait_until(lambda: stack.read(path) is not None, f"{path} in the consumers' folder", 120)
    before = messages(stack, path)
    wait_until(lambda: messages(stack, path) > before, f"{path} changes", 120)
    consumer = KafkaConsumer(
        "snapshot-changed", bootstrap_servers=stack.kafka, auto_offset_reset="earliest", consumer_timeout_ms=20_000
    )
    keys = set[bytes]()
    try:
        for message, _ in zip(consumer, range(500), strict=False):  # some change again and again
            keys.add(message.key)
            if len(keys) > 10:
                break
    finally:
        consumer.close()
    assert len(keys) > 10
    health = {(one["Name"], one["Health"]) for one in stack.containers("consumer", "relay")}
    assert [value for _, value in health] == ["healthy"] * 4, health


def messages(stack: Stack, path: str) -> int:
    return int(json.loads(stack.read(path) or "")["message_count"])


def test_others_go_on_for_a_consumer_that_was_killed_and_it_comes_back(stack: Stack) -> None:
    killed = stack.containers("consumer")[0]
    began = stack.inspect(killed["ID"])["State"]["StartedAt"]
    stack.compose("exec", "-T", "--index", killed["Name"].rpartition("-")[2], "consumer", "sh", "-c", "kill -9 -1")

    def is_back() -> bool:
        state = stack.inspect(killed["ID"])["State"]
        return bool(state["StartedAt"] != began and state["Health"]["Status"] == "healthy")

    wait_until(is_back, f"{killed['Name']} is back", 120)
    assert len([one for one in stack.containers("consumer") if one["Health"] == "healthy"]) == 3


def test_an_outage_of_postgresql_makes_nothing_unhealthy(stack: Stack) -> None:
    stack.compose("stop", "postgres")
    try:
        time.sleep(45)  # a sign of life counts for thirty seconds
        for service in ("relay", "consumer"):
            said = stack.compose("exec", "-T", service, "snapshot-admin", "status", "--health")
            assert said.returncode == 0, said.stdout
        assert {one["Health"] for one in stack.containers("relay", "consumer")} == {"healthy"}
    finally:
        stack.up(profiles=("demo",))


def test_prometheus_has_what_the_consumers_send(stack: Stack) -> None:
    images = ("prom/statsd-exporter:v0.28.0", "prom/prometheus:v3.5.0", "grafana/grafana:11.6.0")
    for image in images:
        if subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode:
            pulled = subprocess.run(["docker", "pull", "-q", image], capture_output=True, text=True, check=False)
            if pulled.returncode:
                missing(f"no image {image}: {pulled.stderr.strip()[-200:]}")
    stack.up(profiles=("demo", "observability"))

    def written() -> float:
        query = f"{stack.prometheus}/api/v1/query?query=signal_glaze_snapshots_generated_total"
        with urllib.request.urlopen(query, timeout=10) as answer:  # noqa: S310  http, as it stands above
            series = json.load(answer)["data"]["result"]
        return float(series[0]["value"][1]) if series else 0.0

    wait_until(lambda: written() > 0, "files that were written, in Prometheus", 60)

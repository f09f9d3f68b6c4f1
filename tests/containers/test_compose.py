"""compose.yaml as a whole: an event that is produced to its Kafka becomes a file of its consumer."""

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from kafka import KafkaProducer

from projections.comments.events import COMMENT_CREATED, CommentCreated, encode
from support.process import free_port, wait_until

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
        ports |= {f"SNAPSHOT_{name}_PORT": str(free_port()) for name in ("REDIS", "POSTGRES")}
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

    def read(self, path: str) -> str | None:
        """A file of the consumer's container, or None."""
        done = self.compose("exec", "-T", "consumer", "cat", path)
        return None if done.returncode else done.stdout


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    found = Stack()
    try:
        up = found.compose("up", "-d", "--wait", "--wait-timeout", "180", "--build")
        assert up.returncode == 0, up.stderr[-3000:] + found.compose("logs", "--tail", "50").stdout
        yield found
    finally:
        found.compose("down", "-v", "--remove-orphans", "--rmi", "local", "--timeout", "5")


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

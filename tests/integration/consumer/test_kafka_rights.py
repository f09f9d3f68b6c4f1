"""The least rights on Kafka, on a broker with an authorizer: what docs/operations/security.md grants is enough."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

from consumer.commands.admin import demo_database
from consumer.dead_letters.kafka import KafkaDeadLetters
from consumer.kafka.librdkafka.member import LibrdkafkaMember
from consumer.kafka.options import SourceOptions
from consumer.kafka.topics import ensure_topics
from consumer.source import Invalid
from projections.comments.events import TOPICS
from projections.errors import OperatorError
from snapshot.kafka.librdkafka import client
from snapshot.kafka.producer import Producer
from snapshot.kafka.settings import LIBRDKAFKA, KafkaSettings
from support import services
from support.commands import on, run
from support.process import free_port

DOCUMENT = Path(__file__).parents[3] / "docs" / "operations" / "security.md"
JAAS = "org.apache.kafka.common.security.plain.PlainLoginModule required"
KINDS = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP}

USERS = ("consumer", "relay", "rebuild", "letters", "forget", "look")

Grant = tuple[str, str, str]
"""Kind of resource, its name, operation."""


def grants(program: str) -> list[Grant]:
    """What the document's table grants a program."""
    text = DOCUMENT.read_text(encoding="utf-8")
    pattern = r"^\| `([\w -]+)` \| (topic|group) `([\w.-]+)` \| ([\w, ]+) \|"
    rows = re.findall(pattern, text, re.MULTILINE)
    return [(kind, name, each) for who, kind, name, all_ in rows if who == program for each in all_.split(", ")]


class Guarded:
    """A broker that allows nobody anything but what was granted; the users are USERS."""

    def __init__(self, folder: Path, client: str) -> None:
        self.client = client
        self.address = f"127.0.0.1:{free_port()}"
        users = "".join(f' user_{name}="secret"' for name in USERS)
        settings = {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",  # whoever comes without a password, as the broker itself does here
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{JAAS}{users};",
        }
        self.broker = services.native_kafka(folder, settings, {"SASL_PLAINTEXT": self.address})
        ensure_topics(KafkaSettings(bootstrap_servers=self.broker.bootstrap))

    def grant(self, user: str, granted: list[Grant]) -> None:
        acls = [
            ACL(
                f"User:{user}",
                "*",
                ACLOperation[operation],
                ACLPermissionType.ALLOW,
                ResourcePattern(KINDS[kind], name),
            )
            for kind, name, operation in granted
        ]
        with KafkaAdminClient(bootstrap_servers=self.broker.bootstrap) as client:
            client.create_acls(acls)

    def environment(self, user: str) -> dict[str, str]:
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.address,
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_MECHANISM": "PLAIN",
            "KAFKA_SASL_USERNAME": user,
            "KAFKA_SASL_PASSWORD": "secret",
            "KAFKA_CLIENT": self.client,
        }


@pytest.fixture
def guarded(short_folder: Callable[[str], Path], kafka_client: str) -> Iterator[Guarded]:
    found = Guarded(short_folder("rights"), kafka_client)
    yield found
    found.broker.close()


def test_what_is_documented_is_enough_and_nothing_is_one_line(guarded: Guarded, redis_url: str, tmp_path: Path) -> None:
    demo_database.create(tmp_path / "data")
    env = on(tmp_path / "data", tmp_path / "storage", REDIS_URL=redis_url)
    consumer, relay = ({**env, **guarded.environment(user)} for user in ("consumer", "relay"))
    refused = run("snapshot-consumer", "--until-caught-up", env=consumer)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert "grant this user" in refused.stderr.splitlines()[-1]  # kafka-python warns of a password in the clear first

    guarded.grant("relay", grants("snapshot-relay"))
    guarded.grant("consumer", grants("snapshot-consumer"))
    published = run("snapshot-relay", "--until-caught-up", env=relay)
    assert published.returncode == 0, published.stderr
    consumed = run("snapshot-consumer", "--until-caught-up", env=consumer)
    assert consumed.returncode == 0, consumed.stderr
    profile = tmp_path / "storage" / "signal_profiles" / "3-harvard-st-commons.json"
    assert json.loads(profile.read_text("utf-8"))["message_count"] > 0
    assert "Authorization" not in published.stderr + consumed.stderr


def test_a_group_that_may_not_be_used_is_named(guarded: Guarded, redis_url: str, tmp_path: Path) -> None:
    demo_database.create(tmp_path / "data")
    guarded.grant("consumer", [one for one in grants("snapshot-consumer") if one[0] == "topic"])
    env = on(tmp_path / "data", tmp_path / "storage", REDIS_URL=redis_url) | guarded.environment("consumer")
    refused = run("snapshot-consumer", "--until-caught-up", env=env)
    assert refused.returncode == 2
    assert "Kafka refuses the group signal-identity-snapshotter" in refused.stderr.splitlines()[-1]


@pytest.mark.parametrize("kafka_client", [LIBRDKAFKA], indirect=True)
def test_a_refusal_that_comes_while_a_client_connects_is_heard(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded.grant("consumer", [one for one in grants("snapshot-consumer") if one[0] == "topic"])
    hand_over = client._hand_over  # noqa: SLF001  the moment that is to come late

    def late(*given: Any) -> None:  # noqa: ANN401  as it is
        time.sleep(2)
        hand_over(*given)

    monkeypatch.setattr(client, "_hand_over", late)
    settings = KafkaSettings(
        bootstrap_servers=guarded.address,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="consumer",
        sasl_password="secret",  # noqa: S106  the broker is this test's own
    )
    member = LibrdkafkaMember(settings, "signal-identity-snapshotter", list(TOPICS), SourceOptions())
    with closing(member), pytest.raises(OperatorError, match="Kafka refuses the group signal-identity-snapshotter"):
        poll_for_seconds(member, 10)


def poll_for_seconds(member: LibrdkafkaMember, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        member.poll(0.1)


@pytest.mark.parametrize("kafka_client", [LIBRDKAFKA], indirect=True)  # a minute; the rights are the same
def test_what_is_documented_for_the_other_commands_is_enough(guarded: Guarded, redis_url: str, tmp_path: Path) -> None:
    demo_database.create(tmp_path / "data")
    env = on(tmp_path / "data", tmp_path / "storage", REDIS_URL=redis_url)
    guarded.grant("rebuild", grants("snapshot-rebuild"))
    guarded.grant("letters", grants("snapshot-admin dead-letters"))
    guarded.grant("forget", grants("snapshot-admin forget"))
    rebuilt = run("snapshot-rebuild", "--all", env=env | guarded.environment("rebuild"))
    assert rebuilt.returncode == 1, rebuilt.stderr  # an empty store, repaired

    producer = Producer(KafkaSettings(bootstrap_servers=guarded.broker.bootstrap), delivery_timeout=20)
    event = {"comment_id": 900, "user_id": 3, "group_slug": "elm", "help_request_id": 1, "body": "x", "revision": 1}
    event |= {"created_at": "2024-06-01T00:00:00", "deleted_at": None}
    KafkaDeadLetters(producer, lambda: datetime(2026, 1, 2, tzinfo=UTC)).send(
        [
            Invalid("comment-created", 0, 7, b"3", json.dumps(event).encode(), [], "no user_id"),
            Invalid("comment-created", 0, 8, b"3", b"{}", [], "no user_id"),
        ]
    )
    producer.close()
    for command in ("status", "check", "history"):
        guarded.grant("look", grants(f"snapshot-admin {command}"))
    look = env | guarded.environment("look")
    status = json.loads(run("snapshot-admin", "status", "--json", env=look).stdout)
    assert (status["kafka"]["error"], status["dead_letters"]) == (None, 2)
    assert json.loads(run("snapshot-admin", "history", "3", "--json", env=look).stdout)["changes"]
    found = json.loads(run("snapshot-admin", "check", "--json", env=look).stdout)
    assert {one["what"]: one["ok"] for one in found}["Kafka"], found
    letters = env | guarded.environment("letters")
    for words, code in {("list",): 0, ("replay", "--all"): 1, ("drop", "comment-created/0/8"): 0}.items():
        done = run("snapshot-admin", "dead-letters", *words, env=letters)
        assert done.returncode == code, (words, done.stderr)
        assert "Authorization" not in done.stderr
    left = run("snapshot-admin", "dead-letters", "list", env=letters).stdout.splitlines()
    assert [line.split()[0] for line in left] == ["comment-created/0/7"]

    forgotten = run("snapshot-admin", "forget", "3", "--force", env=env | guarded.environment("forget"))
    assert forgotten.returncode == 0, forgotten.stderr + forgotten.stdout
    receipt = json.loads(forgotten.stdout)
    assert {one["what"] for one in receipt["removed"]} >= {"dead letters", "profiles", "file"}
    unheard = run("snapshot-admin", "forget", "3", env=env | guarded.environment("letters"))
    assert unheard.returncode == 2  # it has rows still
    undone = json.loads(
        run("snapshot-admin", "forget", "4", "--force", env=env | guarded.environment("letters")).stdout
    )
    assert not undone["complete"]
    assert {"announcements", "how long messages are kept"} & {
        one["what"] for one in undone["remaining"] if one["failed"]
    }

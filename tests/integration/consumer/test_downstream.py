"""What leaves the system, held against the documents that describe it, and read as downstream reads it."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from snapshot.schema import parse_file
from support.commands import on, run
from support.kafka_topics import everything, put
from support.whiteballoon import WhiteBalloon

ROOT = Path(__file__).parents[3]
BODY = "https://example.org/a, see\n\n[attachments: a.png, b.pdf]\n(Reactions: Wren 🎉, Ash 👍)"


def document(name: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads((ROOT / "docs" / name).read_text(encoding="utf-8"))


def validator(schema: Any) -> Draft202012Validator:  # noqa: ANN401 - JSON
    snapshot = document("dev/signal_profile_snapshot.schema.json")
    registry: Registry[Any] = Registry().with_resource(snapshot["$id"], DRAFT202012.create_resource(snapshot))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, registry=registry)


@pytest.fixture
def world(tmp_path: Path) -> WhiteBalloon:
    """Two groups, one with a colon in its slug; comments with everything in them, and an analysis."""
    balloon = WhiteBalloon.in_folder(tmp_path / "data")
    for slug in ("elm:street", "oak"):
        request, users = balloon.add_group(slug, f"Group {slug}", members=2)
        for user in users:
            comment = balloon.comment(user, request, BODY)
            balloon.analyse(comment, tags=["housing", "events"])
    return balloon


def highlights(place: Path, *source: str) -> list[tuple[object, ...]]:
    program = [sys.executable, str(ROOT / "examples" / "highlight_store.py"), str(place), *source, "--once"]
    subprocess.run(program, check=True)
    database = sqlite3.connect(place)
    found = database.execute("SELECT user_id, group_slug, highlight FROM highlights ORDER BY user_id").fetchall()
    database.close()
    return found


def delete_comments(balloon: WhiteBalloon, user: int) -> None:
    with balloon.main.begin() as connection:
        connection.exec_driver_sql("DELETE FROM request_comments WHERE user_id = ?", (user,))


def test_messages_on_kafka_are_as_asyncapi_says_and_the_highlight_store_reads_them(
    world: WhiteBalloon, fresh_kafka: str, redis_url: str, tmp_path: Path
) -> None:
    env = on(tmp_path / "data", tmp_path / "storage", KAFKA_BOOTSTRAP_SERVERS=fresh_kafka, REDIS_URL=redis_url)
    for _ in range(2):
        assert run("snapshot-admin", "topics", env=env).returncode == 0
    assert run("snapshot-admin", "topics", "--json", env=env).stdout == '{"created": [], "differences": []}\n'
    put(fresh_kafka, "comment-created", b"no event")
    for texts in (4, 3):
        for program in ("snapshot-relay", "snapshot-consumer"):
            done = run(program, "--until-caught-up", env=env)
            assert done.returncode == 0, done.stderr
        found = highlights(tmp_path / "highlights.db", "--kafka", fresh_kafka)
        assert len([text for *_, text in found if text is not None]) == texts
        delete_comments(world, 1)
    found = highlights(tmp_path / "highlights.db", "--kafka", fresh_kafka)
    assert [(user, slug, text is None) for user, slug, text in found] == [
        (1, "elm:street", True),
        (2, "elm:street", False),
        (3, "oak", False),
        (4, "oak", False),
    ]
    for topic, channel in document("events/asyncapi.json")["channels"].items():
        check(everything(fresh_kafka, topic), channel)


def check(records: list[Any], channel: dict[str, Any]) -> None:
    """Each message of a topic is one of those that the channel describes; each that it describes was there."""
    seen = set()
    for record in records:
        if record.value == b"no event" and not channel["address"].endswith(".dead"):
            continue
        gone = record.value is None
        (name,) = [name for name in channel["messages"] if (name == "ProfileGone") == gone]
        seen.add(name)
        message = channel["messages"][name]
        headers = {header: value.decode() for header, value in record.headers}
        validator(message["headers"]).validate(headers)
        assert set(message["headers"]["required"]) <= set(headers) <= set(message["headers"]["properties"])
        validator(message["bindings"]["kafka"]["key"]).validate(record.key.decode())
        if "payload" in message:
            schema = message["payload"].get("schema", message["payload"])
            validator(schema).validate(None if gone else json.loads(record.value))
    expected = set(channel["messages"])
    assert seen == expected or channel["address"] == "insight-created.dead"


def test_files_and_lines_are_as_their_schemas_say(world: WhiteBalloon, tmp_path: Path) -> None:
    env = on(tmp_path / "data", tmp_path / "storage")
    for _ in range(2):
        done = run("snapshot-consumer", "--until-caught-up", env=env)
        assert done.returncode == 0, done.stderr
        delete_comments(world, 1)
    snapshots = validator(document("dev/signal_profile_snapshot.schema.json"))
    files = list((tmp_path / "storage" / "signal_profiles").glob("[!.]*.json"))
    assert len(files) == 3
    for file in files:
        snapshots.validate(json.loads(file.read_bytes()))
    announcements = validator(document("events/snapshot-changed.schema.json"))
    path = tmp_path / "storage" / "snapshot-changed.jsonl"
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [line["snapshot"] is None for line in lines].count(True) == 1
    for line in lines:
        announcements.validate(line)
        assert (line["cause"]["event"] == "comment-deleted") == (line["snapshot"] is None)
    compacted = run("snapshot-admin", "compact-announcements", env=env)
    assert compacted.stdout == f"4 lines kept, 1 removed in {path}\n"
    assert len(path.read_bytes().splitlines()) == 4
    again = run("snapshot-admin", "compact-announcements", "--json", env=env)
    assert json.loads(again.stdout) == {"path": str(path), "kept": 4, "removed": 0}
    path.unlink()
    refused = run("snapshot-admin", "compact-announcements", env=env)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("first_seen_at", "2024-05-01T12:00:00Z"),
        ("first_seen_at", "2024-05-01 12:00:00"),
        ("first_seen_at", "2024-13-01T12:00:00"),
        ("last_seen_at", "2024-05-01T24:00:00"),
        ("last_seen_at", "2024-05-01T12:00:00.000000"),
        ("last_seen_at", "2024-05-01T12:00:00.25"),
        ("top_tags", [{"label": str(number), "count": 1} for number in range(6)]),
        ("top_links", [{"url": "https://a.org/", "domain": "a.org", "count": 1}] * 2),
        ("request_ids", [3, 3]),
        ("request_ids", []),
        ("attachment_counts", {"hologram": 1}),
        ("reaction_counts", {"👍": 0}),
        ("message_count", 0),
        ("bio", "unknown"),
    ],
)
def test_the_schema_refuses_what_cannot_be(field: str, value: object) -> None:
    text = (ROOT / "docs/dev/signal_profile_snapshots.md").read_text(encoding="utf-8")
    example = parse_file(text.split("```json\n")[1].split("```")[0].encode()).to_dict()
    schema = validator(document("dev/signal_profile_snapshot.schema.json"))
    schema.validate(example)
    assert not schema.is_valid(example | {field: value})


def test_the_schema_takes_every_profile_of_the_oracle(oracle_databases: Path, tmp_path: Path) -> None:
    done = run("wb", "signal-profile", "snapshot", "--all", "--dry-run", env=on(oracle_databases, tmp_path))
    schema = validator(document("dev/signal_profile_snapshot.schema.json"))
    lines = done.stdout.splitlines()
    assert len(lines) > 1_000
    assert [line for line in lines if not schema.is_valid(json.loads(line))] == []

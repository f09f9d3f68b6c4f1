"""Documents that are generated from the code: `make docs` writes them, a test fails when a committed one is stale."""

import inspect
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from consumer.dead_letters.dead_letters import dead_topic
from projections.comments.events import COMMENT_CREATED, INSIGHT_CREATED, TOPICS
from snapshot.announce.announcement import SNAPSHOT_CHANGED, Announcement
from snapshot.schema import json_schema

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_HEADERS: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "ce_specversion": {"const": "1.0"},
        "ce_type": {"type": "string"},
        "ce_source": {"type": "string"},
        "ce_id": {"type": "string", "description": "The same when the same event is sent again."},
    },
    "required": ["ce_specversion", "ce_type", "ce_source", "ce_id"],
}


def documents() -> dict[str, str]:
    """All generated documents: path below docs/ and text."""
    schemas = {topic: _schema(kind) for topic, kind in {**TOPICS, SNAPSHOT_CHANGED: Announcement}.items()}
    written: dict[str, Any] = {f"events/{topic}.schema.json": schema for topic, schema in schemas.items()}
    written["events/asyncapi.json"] = _asyncapi(schemas)
    written["dev/signal_profile_snapshot.schema.json"] = json_schema()
    return {
        path: json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for path, content in written.items()
    }


def _schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    (schema,), definitions = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    name = schema["$ref"].rpartition("/")[2]
    body: dict[str, Any] = definitions.pop(name)
    body["description"] = inspect.cleandoc(body["description"])  # only Python 3.13 strips docstrings of their margin
    return {"$schema": _DRAFT, "$id": name, **body, **({"$defs": definitions} if definitions else {})}


def _asyncapi(schemas: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    topics = {
        COMMENT_CREATED: ("receive", "user_id, in decimal", "The whole present state of a comment, for one profile."),
        INSIGHT_CREATED: (
            "receive",
            "user_id, in decimal",
            "The whole present state of a comment's analysis, for one profile.",
        ),
        SNAPSHOT_CHANGED: (
            "send",
            "user_id:group_slug",
            (
                "A profile's canonical hash changed. No value: the profile is gone; ce_sequence and ce_previoushash "
                "are in the headers then as well. Compacted. At least once: ignore a lower sequence than the last."
            ),
        ),
    }
    dead = {
        dead_topic(topic): f"What arrived on {topic} and is no event, with the reason in dead-letter-* headers."
        for topic in TOPICS
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Signal Identity Snapshotter", "version": "1"},
        "defaultContentType": "application/json",
        "channels": {
            **{topic: _channel(topic, text, key, schemas[topic]) for topic, (_, key, text) in topics.items()},
            **{topic: {"address": topic, "description": text} for topic, text in dead.items()},
        },
        "operations": {
            topic: {"action": action, "channel": {"$ref": f"#/channels/{topic}"}}
            for topic, (action, _, _) in topics.items()
        },
    }


def _channel(topic: str, text: str, key: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    message = {
        "name": schema["$id"],
        "headers": _HEADERS,
        "payload": {"schemaFormat": f"application/schema+json;version={_DRAFT}", "schema": dict(schema)},
        "bindings": {"kafka": {"key": {"type": "string", "description": key}}},
    }
    return {"address": topic, "description": text, "messages": {schema["$id"]: message}}


def main(folder: Path) -> None:
    """Write all documents."""
    for name, text in documents().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))

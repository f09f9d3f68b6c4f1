"""The topics as an AsyncAPI document, and as a page: keys, headers, values."""

from collections.abc import Iterator, Mapping
from typing import Any

from consumer.dead_letters.dead_letters import dead_topic
from projections import __version__
from projections.comments.events import COMMENT_CREATED, INSIGHT_CREATED, TOPICS
from snapshot.announce.announcement import SNAPSHOT_CHANGED
from snapshot.schema import DRAFT

_REQUIRED = {
    "ce_specversion": {"const": "1.0"},
    "ce_type": {"type": "string", "description": "`signal.` and the topic."},
    "ce_source": {"const": "/signal-identity-snapshotter"},
    "ce_id": {"type": "string", "description": "The same when the same event is sent again."},
}
_ANNOUNCED = {
    "ce_subject": {"type": "string", "description": "The message's key."},
    "ce_time": {"type": "string", "format": "date-time", "description": "The sequence as a time, in UTC."},
    "ce_sequence": {"type": "string", "pattern": "^[0-9]+$", "description": "As in the value."},
    "ce_previoushash": {
        "type": "string",
        "pattern": "^[0-9a-f]{64}$",
        "description": "As in the value; left out where it is null.",
    },
    "ce_cause": {"type": "string", "description": "As in the value, as JSON in ASCII."},
    "content-type": {"const": "application/json", "description": "Left out where there is no value."},
}
_DEAD = {
    "dead-letter-error": {"type": "string", "description": "Why it is no event."},
    "dead-letter-topic": {"type": "string", "description": "Where it came from; so the next two."},
    "dead-letter-partition": {"type": "string", "pattern": "^[0-9]+$"},
    "dead-letter-offset": {"type": "string", "pattern": "^[0-9]+$"},
    "dead-letter-time": {"type": "string", "description": "When it was put here: UTC, ISO 8601."},
    "dead-letter-truncated": {"type": "string", "description": "The value's size, where it was cut."},
}
_OPTIONAL = {"ce_previoushash", "content-type", "dead-letter-truncated"}
_TEXTS = {
    COMMENT_CREATED: "The whole present state of a comment, for one profile.",
    INSIGHT_CREATED: "The whole present state of a comment's analysis, for one profile.",
    SNAPSHOT_CHANGED: "A profile's canonical hash changed; without a value, the profile is gone. Compacted. At least "
    "once: ignore what has a lower sequence than the last.",
}
_EVENT_KEY = {"type": "string", "pattern": "^[0-9]+$", "description": "user_id, in decimal"}
_PROFILE_KEY = {
    "type": "string",
    "pattern": "^[0-9]+:.+$",
    "description": "user_id:group_slug; it splits at the first colon, as a slug may hold one",
}


def asyncapi(schemas: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The document; `schemas`: the JSON Schema of each topic's values."""
    channels = {topic: _channel(topic, schemas[topic]) for topic in _TEXTS}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Signal Identity Snapshotter", "version": __version__},
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": "{bootstrap}",
                "protocol": "kafka",
                "description": "KAFKA_SECURITY_PROTOCOL says whether it is TLS (kafka-secure).",
                "variables": {"bootstrap": {"default": "kafka:9092", "description": "KAFKA_BOOTSTRAP_SERVERS"}},
            }
        },
        "channels": channels | {dead_topic(topic): _dead_channel(topic) for topic in TOPICS},
        "operations": {
            topic: {"action": "receive" if topic in TOPICS else "send", "channel": {"$ref": f"#/channels/{topic}"}}
            for topic in _TEXTS
        },
    }


def _channel(topic: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    event = topic in TOPICS
    key = _EVENT_KEY if event else _PROFILE_KEY
    payload = {"schemaFormat": f"application/schema+json;version={DRAFT}", "schema": dict(schema)}
    headers = _REQUIRED if event else _REQUIRED | _ANNOUNCED
    messages = {schema["$id"]: _message(schema["$id"], headers, key) | {"payload": payload}}
    if not event:
        headers = {name: text for name, text in headers.items() if name != "content-type"}
        messages["ProfileGone"] = _message("ProfileGone", headers, key) | {"payload": {"type": "null"}}
    return {"address": topic, "description": _TEXTS[topic], "messages": messages}


def _dead_channel(topic: str) -> dict[str, Any]:
    text = f"What arrived on {topic} and is no event, as it came, with headers that say why."
    message = _message("DeadLetter", _DEAD, {"type": "string", "description": "As it came."})
    return {"address": dead_topic(topic), "description": text, "messages": {"DeadLetter": message}}


def _message(name: str, headers: Mapping[str, Any], key: Mapping[str, Any]) -> dict[str, Any]:
    required = [header for header in headers if header not in _OPTIONAL]
    return {
        "name": name,
        "headers": {"type": "object", "properties": dict(headers), "required": required},
        "bindings": {"kafka": {"key": dict(key)}},
    }


def event_page(document: Mapping[str, Any]) -> str:
    """The page of topics."""
    lines = [
        "# Events and announcements",
        "",
        "The topics on Kafka, from [asyncapi.json](../events/asyncapi.json), which has the JSON Schemas of the values.",
        "How to read announcements: [Downstream](../downstream.md). Headers are texts in UTF-8; *optional* ones are",
        "not always there.",
    ]
    for topic, channel in document["channels"].items():
        lines += ["", f"## `{topic}`", "", channel["description"]]
        for message in channel["messages"].values():
            lines += ["", f"### {message['name']} in {topic}", "", *_message_lines(message)]
    return "\n".join(lines) + "\n"


def _message_lines(message: Mapping[str, Any]) -> Iterator[str]:
    yield f"Key: {message['bindings']['kafka']['key']['description']}."
    yield from ("", "| header | |", "|---|---|")
    for name, header in message["headers"]["properties"].items():
        optional = "" if name in message["headers"]["required"] else "*optional* "
        text = header.get("description", f"`{header['const']}`" if "const" in header else "")
        yield f"| `{name}` | {optional}{text} |"
    payload = message.get("payload", {}).get("schema")
    if payload:
        yield from ("", "| field | |", "|---|---|")
        yield from (f"| `{name}` | {_kind(field)} |" for name, field in payload["properties"].items())


def _kind(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_kind(one) for one in field["anyOf"])
    if "$ref" in field:
        return f"a {field['$ref']}"
    kind = {"array": "list of texts", "string": "text"}.get(field["type"], field["type"])
    return f"{kind}, a time" if field.get("format") == "date-time" else str(kind)

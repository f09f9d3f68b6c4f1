"""All generated documents: `make docs` writes them, a test fails when a committed one is stale."""

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from consumer.documents.asyncapi import asyncapi, event_page
from consumer.documents.messages import message_page
from consumer.documents.reference import command_page, configuration_page
from consumer.web.api.openapi import document as openapi
from projections.comments.events import TOPICS
from snapshot.announce.announcement import SNAPSHOT_CHANGED, Announcement
from snapshot.schema import DRAFT, json_schema

_README = Path(__file__).parents[2] / "README.md"


def documents() -> dict[str, str]:
    """Path below docs/ and text of each."""
    schemas = {topic: _schema(kind) for topic, kind in {**TOPICS, SNAPSHOT_CHANGED: Announcement}.items()}
    schemas[SNAPSHOT_CHANGED] = _with_snapshot(schemas[SNAPSHOT_CHANGED])
    written: dict[str, Any] = {f"events/{topic}.schema.json": schema for topic, schema in schemas.items()}
    written["events/asyncapi.json"] = asyncapi(schemas)
    written["reference/openapi.json"] = openapi()
    written["dev/signal_profile_snapshot.schema.json"] = json_schema()
    texts = {
        path: json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for path, content in written.items()
    }
    return texts | {
        "index.md": start_page(_README.read_text(encoding="utf-8")),
        "reference/commands.md": command_page(),
        "reference/configuration.md": configuration_page(),
        "reference/events.md": event_page(asyncapi(schemas)),
        "reference/messages.md": message_page(),
    }


def _schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    (schema,), definitions = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    name = schema["$ref"].rpartition("/")[2]
    body: dict[str, Any] = definitions.pop(name)
    body["description"] = inspect.cleandoc(body["description"])  # only Python 3.13 strips docstrings of their margin
    return {"$schema": DRAFT, "$id": name, **body, **({"$defs": definitions} if definitions else {})}


def _with_snapshot(schema: dict[str, Any]) -> dict[str, Any]:
    """Say of the announcement's snapshot what the snapshot's own schema does, which comes with it."""
    snapshot = json_schema()
    properties = schema["properties"] | {"snapshot": {"anyOf": [{"$ref": snapshot["$id"]}, {"type": "null"}]}}
    return schema | {"properties": properties, "$defs": {snapshot["$id"]: snapshot}}


def start_page(readme: str) -> str:
    """The site's first page: README, with links that begin in docs/; what lies outside of it is named only."""

    def moved(link: re.Match[str]) -> str:
        mark, text, target = link.groups()
        inside = target.removeprefix("docs/")
        return f"{mark}[{text}]({inside})" if inside != target else f"{text} (`{target}`)"

    return re.sub(r"(!?)\[([^\]]*)\]\((?!https:)([^)]+)\)", moved, readme)


def main(folder: Path) -> None:
    """Write all documents."""
    for name, text in documents().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))

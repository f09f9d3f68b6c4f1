"""The JSON API as an OpenAPI document; its schemas are made from what the API sends."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from consumer.views.changes import Change
from consumer.views.status import Status
from projections import __version__
from snapshot.schema import SignalProfileSnapshot


class Problem(msgspec.Struct, frozen=True):
    """What is wrong, in one line."""

    error: str


class ProfileSummary(msgspec.Struct, frozen=True):
    """A profile in a list. Times are UTC without a zone."""

    user_id: int
    group_slug: str
    message_count: int
    first_seen_at: str
    last_seen_at: str


class ProfilePage(msgspec.Struct, frozen=True):
    """Some profiles, by user and group; `next` is the `after` of the following page, null at the end."""

    profiles: list[ProfileSummary]
    next: str | None


_KINDS = (SignalProfileSnapshot, ProfilePage, Change, Status, Problem)
_UNREACHABLE = "503"
_STREAM = (
    "Server-sent events: `change`, whose data is a Change; `gap` where changes are no longer kept here, so that "
    "profiles have to be read again; a comment every 15 seconds. A change may come twice, and an older one late: "
    "ignore what has no higher `sequence` than the last of its profile."
)


def document() -> dict[str, Any]:
    """Describe all paths below /api."""
    _, schemas = msgspec.json.schema_components(_KINDS, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Signal Identity Snapshotter",
            "version": __version__,
            "description": "Read-only: GET and HEAD. `snapshot-admin serve` has it.",
        },
        "paths": {path: {"get": operation} for path, operation in _operations().items()},
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Where SNAPSHOT_WEB_TOKEN is set."}
            },
        },
        "security": [{}, {"token": []}],
    }


def _operations() -> dict[str, dict[str, Any]]:
    tag = {"ETag": {"schema": {"type": "string"}, "description": "The snapshot_hash, in quotes."}}
    return {
        "/api/openapi.json": _operation("This document.", {"type": "object"}),
        "/api/status": _operation("What runs, what is behind, what fails.", _ref(Status), unreachable=True),
        "/api/profiles": _operation(
            "Profiles by user and group, a page at a time.",
            _ref(ProfilePage),
            [
                _query("q", "Words that all have to be in a profile's group, leading links, tags, reactions or "
                       "attachments; a number is the beginning of a user's id."),
                _query("group", "Only this group."),
                _query("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
                _query("after", "`next` of the page before, USER:GROUP.", {"type": "string", "pattern": "^[0-9]+:."}),
            ],
            refused=True,
            unreachable=True,
        ),
        "/api/profiles/{user}/{slug}": _operation(
            "A profile's snapshot, as its file has it. 304 where If-None-Match has its hash.",
            _ref(SignalProfileSnapshot),
            [
                {"name": "user", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}},
                {"name": "slug", "in": "path", "required": True, "schema": {"type": "string"},
                 "description": "The group's slug, percent-encoded; one with a slash in it, too."},
                {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}},
            ],
            headers=tag,
            further={"304": {"description": "It is this one.", "headers": tag}, "404": _problem("There is none.")},
            unreachable=True,
        ),
        "/api/changes": _operation(
            _STREAM,
            {"type": "string"},
            [
                {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"},
                 "description": "Go on after this event."},
                _query("after", "The same, for who can't set headers."),
            ],
            media="text/event-stream",
            unreachable=True,
        ),
    }  # fmt: skip


def _operation(  # noqa: PLR0913 - what differs between them
    text: str,
    schema: Mapping[str, Any],
    parameters: Iterable[Mapping[str, Any]] = (),
    *,
    media: str = "application/json",
    headers: Mapping[str, Any] | None = None,
    further: Mapping[str, Any] | None = None,
    refused: bool = False,
    unreachable: bool = False,
) -> dict[str, Any]:
    answers: dict[str, Any] = {"200": {"description": text, "content": {media: {"schema": schema}}}}
    if headers:
        answers["200"]["headers"] = headers
    answers |= further or {}
    if refused:
        answers["400"] = _problem("A parameter is not what it has to be.")
    answers["401"] = _problem("A token is needed.")
    if unreachable:
        answers[_UNREACHABLE] = _problem("The store, the database or Kafka can't be reached at present.")
    return {"summary": text.partition(".")[0], "parameters": list(parameters), "responses": answers}


def _problem(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": _ref(Problem)}}}


def _query(name: str, text: str, schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": text, "schema": schema or {"type": "string"}}


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}

"""The JSON API: what it gives is what OpenAPI says, and conditional requests are answered."""

import json

import jsonschema
import pytest
from starlette.testclient import TestClient

from consumer.web.api.openapi import document
from snapshot.schema import parse_file
from support.page import SLUG, Page


def valid(schema: str, value: object) -> None:
    """As the OpenAPI document describes it, which is itself one by the same rules as every answer."""
    whole = {"$ref": f"#/components/schemas/{schema}", **document()}
    jsonschema.Draft202012Validator(whole).validate(value)


def place(page: Page) -> str:
    return f"/api/profiles/{page.ben}/elm"


def test_a_profile_is_its_file(page: Page, client: TestClient) -> None:
    answer = client.get(place(page))
    assert answer.headers["content-type"] == "application/json"
    snapshot = parse_file(answer.content)
    assert answer.headers["etag"] == f'"{snapshot.snapshot_hash}"'
    valid("SignalProfileSnapshot", answer.json())
    assert answer.content in [path.read_bytes() for path in (page.storage / "signal_profiles").glob("*.json")]


def test_who_has_it_gets_304(page: Page, client: TestClient) -> None:
    tag = client.get(place(page)).headers["etag"]
    for given in (tag, f'"x", W/{tag}', "*"):
        answer = client.get(place(page), headers={"if-none-match": given})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
        assert client.head(place(page), headers={"if-none-match": given}).status_code == 304
    for given in ('"x"', tag.strip('"'), ""):
        assert client.get(place(page), headers={"if-none-match": given}).status_code == 200
    head = client.head(place(page))
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", tag)
    assert int(head.headers["content-length"]) == len(client.get(place(page)).content)


@pytest.mark.parametrize(
    "path", ["99/elm", "1/nowhere", "x/elm", f"{'9' * 6_000}/elm", "1/", "2/%00%0A", "2/elm%0A", "2/%0Aelm"]
)
def test_what_is_not_there(client: TestClient, path: str) -> None:
    answer = client.get(f"/api/profiles/{path}")
    assert answer.status_code == 404
    valid("Problem", answer.json())


def test_profiles_come_in_pages(page: Page, client: TestClient) -> None:
    whole = client.get("/api/profiles").json()
    valid("ProfilePage", whole)
    assert whole["next"] is None
    keys = [(one["user_id"], one["group_slug"]) for one in whole["profiles"]]
    assert keys == [(page.ann, SLUG), (page.ben, SLUG), (page.ben, "elm")]
    found: list[object] = []
    after: str | None = ""
    while after is not None:
        part = client.get("/api/profiles", params={"limit": 1, "after": after}).json()
        found += part["profiles"]
        after = part["next"]
    assert found == whole["profiles"]
    assert [one["group_slug"] for one in client.get("/api/profiles?group=elm").json()["profiles"]] == ["elm"]
    assert client.get("/api/profiles?q=food").json()["profiles"][0]["user_id"] == page.ann
    for wrong in ("limit=0", "limit=1001", "limit=x"):
        answer = client.get(f"/api/profiles?{wrong}")
        assert answer.status_code == 400
        valid("Problem", answer.json())
    for after in ("x", "0:elm", "2:", f"{2**63}:elm"):
        refused = client.get("/api/profiles", params={"after": after})
        assert refused.status_code == 400
        assert refused.json() == {"error": f"after is {after!r}, and must be USER:GROUP, the `next` of the page before"}


def test_status_and_the_document_itself(client: TestClient) -> None:
    status = client.get("/api/status").json()
    valid("Status", status)
    assert "no consumer is at work: start snapshot-consumer" in status["problems"]
    assert client.get("/api/openapi.json").json() == json.loads(json.dumps(document()))


def test_errors_are_json(client: TestClient) -> None:
    for answer in (
        client.get("/api/nowhere"),
        client.post("/api/profiles"),
        client.get("/api/", headers={"host": "x"}),
    ):
        assert answer.status_code in {400, 404, 405}
        valid("Problem", answer.json())
    head = client.head("/api/changes")
    assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")

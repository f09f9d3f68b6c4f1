"""The OpenAPI document and the routes say the same."""

import re

import jsonschema

from consumer.web.api.openapi import document
from consumer.web.app import API


def test_it_has_every_route_and_no_other() -> None:
    assert set(document()["paths"]) == {path.replace(":slug", "") for path in API}
    assert all(list(operations) == ["get"] for operations in document()["paths"].values())


def test_parameters_of_paths_are_described() -> None:
    for path, operations in document()["paths"].items():
        named = {one["name"] for one in operations["get"]["parameters"] if one["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))


def test_every_schema_is_one_and_is_there() -> None:
    schemas = document()["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    named = set(re.findall(r"'#/components/schemas/(\w+)'", str(document())))
    assert named <= set(schemas)
    assert {"Problem", "ProfilePage", "SignalProfileSnapshot"} <= named

"""The meaning of a comment, held against 23,614 real ones and the snapshots that WhiteBalloon itself gave."""

import hashlib
import json
from typing import Any

import pytest

from support.reference import Rows, reference_snapshots

Key = tuple[int, str]
Expected = list[dict[str, Any]]


@pytest.fixture(scope="module")
def actual(oracle_rows: Rows) -> dict[Key, dict[str, Any]]:
    return reference_snapshots(oracle_rows)


def test_the_oracles_profiles_are_all_there_and_no_others(
    actual: dict[Key, dict[str, Any]], oracle_expected: Expected
) -> None:
    expected = {(entry["user_id"], entry["group_slug"]) for entry in oracle_expected}
    assert len(expected) == 1504
    assert actual.keys() == expected


def test_every_field_that_must_agree_does(actual: dict[Key, dict[str, Any]], oracle_expected: Expected) -> None:
    wrong = [
        (key, field, entry["snapshot"][field], actual[key][field])
        for entry in oracle_expected
        for key in [(entry["user_id"], entry["group_slug"])]
        for field in entry["fields"]
        if actual[key][field] != entry["snapshot"][field]
    ]
    assert wrong == []


def test_984_profiles_have_the_same_hash(actual: dict[Key, dict[str, Any]], oracle_expected: Expected) -> None:
    equal = 0
    for entry in oracle_expected:
        if len(entry["fields"]) == len(entry["snapshot"]):
            text = json.dumps(actual[entry["user_id"], entry["group_slug"]], sort_keys=True)
            equal += hashlib.sha256(text.encode()).hexdigest() == entry["snapshot_hash"]
    assert equal == 984

"""Variables that mean nothing are named."""

import pytest
from structlog.testing import capture_logs

from consumer.documents.reference import variables
from projections.errors import OperatorError
from snapshot.cli.variables import KNOWN, check_variables


def test_all_variables_are_known() -> None:
    assert variables() == KNOWN


def test_a_misspelt_variable_is_named_and_others_are_not() -> None:
    ours = {"SNAPSHOT_STORAGE_DIRS": "x", "KAFKA_BOOTSTRAP": "x", "HOME": "x", "REDIS_URL": "x", "GROUP_SLUG": ""}
    with capture_logs() as logged:
        check_variables(ours)
    assert [(entry["name"], entry["near"]) for entry in logged] == [
        ("KAFKA_BOOTSTRAP", ["KAFKA_BOOTSTRAP_SERVERS"]),
        ("SNAPSHOT_STORAGE_DIRS", ["SNAPSHOT_STORAGE_DIR"]),
    ]


@pytest.mark.parametrize("name", ["SNAPSHOT_STORAGE_DIR", "SNAPSHOT_OUTPUT_DIR"])
def test_an_empty_path_is_an_error(name: str) -> None:
    with pytest.raises(OperatorError, match=f"{name} is set and empty; "):
        check_variables({name: " "})

"""A membership that matches no request is named in the log, once a process."""

import pytest
from structlog.testing import capture_logs

from consumer.tail.changes import unmatched
from projections.comments.groups import Groups

REQUESTS = [(1, "[Signal] Elm St"), (2, "Oak Rd")]


def test_what_matches_no_request_is_named_once_and_what_comes_later_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unmatched, "_logged", set())
    oaks = [(user, "signal_import_group:oak", "Oak Rd") for user in (3, 4, 5)]
    elms = [(user, "signal_import_group:elm", "Elm St") for user in (6, 7)]
    with capture_logs() as said:
        for _ in range(2):
            unmatched.log_unmatched(Groups.from_rows(oaks + elms, REQUESTS))
    [line] = said
    assert (line["group_slug"], line["title"], line["users"]) == ("oak", "[Signal] Oak Rd", [3, 4, 5])
    elms[0] = (6, "signal_import_group:elm", "Elm")
    with capture_logs() as said:
        unmatched.log_unmatched(Groups.from_rows(oaks + elms, REQUESTS))
    [line] = said
    assert (line["group_slug"], line["memberships"], line["users"]) == ("elm", 1, [6])

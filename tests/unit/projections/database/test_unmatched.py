"""A membership that matches no request is named in the log, once a process."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from projections.database import unmatched
from projections.database.database import open_databases
from support.whiteballoon import WhiteBalloon, execute


def test_what_matches_no_request_is_named_once_and_what_comes_later_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unmatched, "_logged", set())
    wb = WhiteBalloon.in_folder(tmp_path / "data")
    _, elms = wb.add_group("elm", "Elm St", members=2)
    _, users = wb.add_group("oak", "Oak Rd", members=3)
    execute(wb.main_url, "UPDATE help_requests SET title = 'Oak Rd' WHERE title LIKE '%Oak Rd'")
    with capture_logs() as said:
        for _ in range(2):
            with open_databases(wb.main_url, wb.insights_url) as database:
                assert database.groups().unmatched() == [(user, "oak") for user in users]
    [line] = [line for line in said if "match no request" in line["event"]]
    assert (line["group_slug"], line["title"], line["users"]) == ("oak", "[Signal] Oak Rd", users)
    execute(
        wb.main_url,
        "UPDATE user_attributes SET value = 'Elm' WHERE user_id = (SELECT min(user_id) FROM user_attributes)",
    )
    with capture_logs() as said, open_databases(wb.main_url, wb.insights_url) as database:
        database.groups()
    [line] = [line for line in said if "match no request" in line["event"]]
    assert (line["group_slug"], line["memberships"], line["users"]) == ("elm", 1, elms[:1])

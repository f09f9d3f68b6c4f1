"""The summary of a rebuild."""

import json

import pytest
from rich.console import Console

from snapshot.rebuild import report as module
from snapshot.rebuild.report import DRIFT, Report, add_invalid_rows, show


def shown(report: Report) -> list[str]:
    console = Console(width=80, no_color=True)
    with console.capture() as captured:
        show(report, console)
    return [" ".join(line.split()) for line in captured.get().splitlines()]


def test_the_json_object_keeps_its_keys_and_their_order() -> None:
    report = Report(
        dry_run=True, deep=False, group_slug="elm", users=3, in_step=1, different=1, comments=10, seconds=0.5
    )
    report.fields = {"top_tags": 1, "message_count": 1}
    report.named = [(7, "elm", "different", ("message_count", "top_tags"), "drift")]
    report.named_files = [("7-elm.json", "stale")]
    report.files["stale"] = 1
    report.recovery, report.blocked = 2, "20 of 40 profiles"
    report.invalid_rows = {2: "two", 1: "one"}
    assert json.dumps(report.to_dict()) == (
        '{"dry_run": true, "deep": false, "group_slug": "elm", "exit_code": 2, "users": 3, "profiles": 2, '
        '"in_step": 1, "missing": 0, "orphaned": 0, "different": 1, "lag": 0, "undecided": 0, '
        '"fields": {"message_count": 1, "top_tags": 1}, '
        '"findings": [{"user_id": 7, "group_slug": "elm", "kind": "different", '
        '"fields": ["message_count", "top_tags"], "verdict": "drift"}], '
        '"files": {"foreign": 0, "missing": 0, "stale": 1}, "wrong_files": [{"name": "7-elm.json", "fault": "stale"}], '
        '"written": 0, "unchanged": 0, "removed": 0, "announced": 0, "pruned": 0, "events": 0, "healing_buckets": 2, '
        '"unreadable": [{"comment_id": 1, "reason": "one"}, {"comment_id": 2, "reason": "two"}], '
        '"unreadable_comments": 2, "held": "20 of 40 profiles", "comments": 10, "seconds": 0.5, '
        '"comments_per_second": 20}'
    )


def test_the_title_stands_on_one_line() -> None:
    report = Report(dry_run=True, deep=True, group_slug="harvard-st-commons")
    assert shown(report)[0] == "group harvard-st-commons, deep, dry run: nothing was changed"


def test_the_title_names_the_users_that_were_asked_for() -> None:
    report = Report(dry_run=False, deep=False, group_slug=None, asked=frozenset({33}))
    assert shown(report)[0] == "user 33"
    report.asked, report.group_slug = frozenset(range(1, 13)), "elm"
    assert shown(report)[0] == "users 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more, group elm"


def test_what_the_guard_stopped_is_not_called_in_step() -> None:
    lines = shown(Report(dry_run=False, deep=False, group_slug=None, users=9, blocked="20 of 40 profiles"))
    assert lines[:2] == ["all groups", "stopped before anything was removed; 0 comments read in 0.0 s (0/s)"]


def test_stopped_half_way_it_says_nothing_of_those_that_it_did_not_compare() -> None:
    lines = shown(Report(dry_run=False, deep=False, group_slug=None, missing=2, blocked="20 of 40 profiles"))
    assert "missing 2" in lines
    assert not [line for line in lines if line.startswith(("in step", "profiles"))]


def test_more_are_counted_than_are_named() -> None:
    report = Report(dry_run=True, deep=False, group_slug=None, in_step=1, different=2_000, undecided=5)
    report.named = [(number, "elm", "different", ("top_tags",), "drift") for number in range(module.NAMED)]
    assert "and 1,995 more; --json names 1,000 of each" in shown(report)
    report.different, report.undecided = module.NAMED, 0
    assert "and 990 more; --json names them" in shown(report)


@pytest.mark.parametrize(("dry_run", "outcome"), [(True, "the store has none of "), (False, "the store had none of ")])
def test_a_first_fill_is_not_called_drift(outcome: str, *, dry_run: bool) -> None:
    report = Report(dry_run=dry_run, deep=False, group_slug=None, fills=True, missing=3, different=1)
    report.fields = {"tombstones": 1}  # of somebody whose comments are all deleted
    assert shown(report)[-1].startswith(outcome)
    assert (report.exit_code, report.drift, report.drifted) == (DRIFT, 4, 0)
    report.fills, report.asked = False, frozenset({33})  # theirs were missing, those of others are there
    assert shown(report)[-1].startswith("drift found")
    assert report.drifted == 4


def test_invalid_rows_are_counted_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """All ten million of them would fill the memory."""
    monkeypatch.setattr(module, "COUNTED", 3)
    report = Report(dry_run=False, deep=False, group_slug=None)
    add_invalid_rows(report.invalid_rows, {2: "two", 1: "one"})
    assert "left out 2 comments with invalid rows" in shown(report)
    add_invalid_rows(report.invalid_rows, {2: "two", 4: "four", 3: "three"})
    assert report.invalid_rows == {1: "one", 2: "two", 3: "three"}
    assert "left out 3 comments with invalid rows, or more" in shown(report)

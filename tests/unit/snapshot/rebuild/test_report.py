"""The summary of a rebuild."""

import pytest
from rich.console import Console

from snapshot.rebuild import report as module
from snapshot.rebuild.report import Report, leave_out, show


def shown(report: Report) -> list[str]:
    console = Console(width=80, no_color=True)
    with console.capture() as captured:
        show(report, console)
    return [" ".join(line.split()) for line in captured.get().splitlines()]


def test_the_title_stands_on_one_line() -> None:
    report = Report(dry_run=True, deep=True, group_slug="harvard-st-commons")
    assert shown(report)[0] == "group harvard-st-commons, deep, dry run: nothing was changed"


def test_rows_that_can_not_be_understood_are_counted_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """All ten million of them would fill the memory."""
    monkeypatch.setattr(module, "COUNTED", 3)
    report = Report(dry_run=False, deep=False, group_slug=None)
    leave_out(report.unreadable, {2: "two", 1: "one"})
    assert "left out 2 comments whose rows can't be understood" in shown(report)
    leave_out(report.unreadable, {2: "two", 4: "four", 3: "three"})
    assert report.unreadable == {1: "one", 2: "two", 3: "three"}
    assert "left out 3 comments whose rows can't be understood, or more" in shown(report)

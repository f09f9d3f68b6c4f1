"""docs/performance.md says what the newest results say; so do its plots."""

import struct
from pathlib import Path

import pytest

from benchmarks import page, report, results
from benchmarks.goals import GOALS
from benchmarks.results import Name, Results, Run

NEWEST = results.load(results.newest())


def described(png: Path) -> str:
    """The description that a PNG carries."""
    data, place = png.read_bytes(), 8
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        content = data[place + 8 : place + 8 + length]
        if kind == b"tEXt" and content.startswith(b"Description\0"):
            return content.partition(b"\0")[2].decode("latin-1")
        place += length + 12
    raise AssertionError(f"{png} has no description")


def test_the_tables_of_the_page_are_those_of_the_newest_results() -> None:
    written = page.PAGE.read_text(encoding="utf-8")
    assert page.text(written, NEWEST) == written, "run make bench-page"


@pytest.mark.parametrize("name", page.plots(NEWEST))
def test_a_plot_shows_the_newest_results(name: str) -> None:
    assert described(page.IMAGES / name) == page.described(page.plots(NEWEST)[name]), "run make bench-page"


def test_no_profile_of_the_newest_results_is_wrong() -> None:
    assert NEWEST.wrong == 0


def test_what_was_not_measured_is_said_and_not_shown_as_a_figure() -> None:
    found = Results()
    found.add(
        Name("history", "a comment more than 10"), Run("2026-01-01", "abc", 1, {}, {}, [0, 0]), {"change": 1500.0}
    )
    texts = {one.name: one for one in report.tables(found)}
    assert texts["history"].rows[:2] == [
        ["a comment more than 10", "1,500", "", "1.00"],
        ["a comment more than 100", report.MISSING, "", ""],
    ]
    assert all(
        row[1:] == [report.MISSING, goal.wanted(), ""] for row, goal in zip(texts["goals"].rows, GOALS, strict=True)
    )
    assert page.plots(found) == {"cost-history.png": {"with Redis": [(10.0, 1500.0)]}}


def test_a_page_that_asks_for_no_such_table_is_refused() -> None:
    with pytest.raises(KeyError):
        page.text("<!-- results: nothing -->\n<!-- end -->", Results())

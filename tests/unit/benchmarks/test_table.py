from fnmatch import fnmatch

import msgspec
import pytest

from benchmarks.goals import GOALS, YARDSTICKS, Goal
from benchmarks.programs import without_files
from benchmarks.results import Name, Results, Row
from benchmarks.table import SHORT, Scale, sections
from benchmarks.whiteballoon import Shape

ROWS = [name for section in sections(Scale(1)) for name in section.names()]
FIGURES = ("cpu", "redis", "rate", "memory", "stored", "cpu_seconds", "change", "p99", "core", "seconds", "expected")


class Asked(Results):
    """Has every row; notes which it was asked for."""

    names: set[Name] = msgspec.field(default_factory=set)

    def find(self, name: Name) -> Row | None:
        self.names.add(name)
        return Row(name.on, name.row, "run", {figure: [2.0] for figure in FIGURES})


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.what)
def test_a_goal_is_of_rows_that_there_are(goal: Goal) -> None:
    asked = Asked()
    assert goal.measured(asked) in (1.0, 2.0)
    assert asked.names
    assert asked.names <= set(ROWS)
    assert goal.measured(Results()) is None


def test_a_goal_is_met_up_to_its_bound() -> None:
    most, least = (Goal("x", lambda _results: None, "×", **{bound: 0.9}) for bound in ("most", "least"))
    assert [most.met(value) for value in (0.8, 0.9, 1.0)] == [True, True, False]
    assert [least.met(value) for value in (0.8, 0.9, 1.0)] == [False, True, True]
    assert (most.wanted(), least.wanted()) == ("≤ 0.9 ×", "≥ 0.9 ×")


def test_every_yardstick_is_a_row_of_the_stream_and_no_name_comes_twice() -> None:
    assert {Name(SHORT, row) for row in YARDSTICKS} <= set(ROWS)
    assert len(set(ROWS)) == len(ROWS)


def test_the_quick_table_is_part_of_the_whole_one() -> None:
    quick = [name for section in sections(Scale(1), quick=True) for name in section.names()]
    assert set(quick) < set(ROWS)
    assert {name.on for name in quick} == {SHORT, "database", "history", "daemon"}


def test_globs_of_the_makefile_name_rows() -> None:
    assert sum(fnmatch(str(name), "*: kill*") for name in ROWS) == 1
    assert sum(fnmatch(str(name), "short stream: *") for name in ROWS) > 10


@pytest.mark.parametrize("shape", [Shape(1, 3), Shape(3, 3), Shape(2, 4), Shape(6, 2)])
def test_every_copy_of_a_user_has_comments_and_no_comment_belongs_to_two(shape: Shape) -> None:
    copies = {shape.user_copy(comment, copy) for comment in range(50) for copy in range(shape.comments)}
    assert copies == set(range(shape.users))


def test_what_the_consumer_without_files_leaves_out_is_there() -> None:
    assert [name for kind, name, _answer in without_files.DO_NOTHING if not callable(getattr(kind, name, None))] == []

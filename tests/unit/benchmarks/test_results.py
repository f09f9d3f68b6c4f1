from pathlib import Path

import pytest

from benchmarks import results
from benchmarks.results import Name, Results, Run

CONSUMER, PEER = Name("short stream", "consumer"), Name("short stream", "peer")


def run(at: str) -> Run:
    return Run(at, "abc", 1, {}, {}, [0.0, 0.0])


def test_the_median_of_what_was_measured_in_the_last_run_counts() -> None:
    found = Results()
    found.add(CONSUMER, run("2026-01-01"), {"cpu": 90.0})
    for cpu in (5.0, 1.0, 3.0):
        found.add(CONSUMER, run("2026-01-02"), {"cpu": cpu})
    assert found.median(CONSUMER, "cpu") == 3.0
    assert found.median(CONSUMER, "rate") is None
    assert found.median(PEER, "cpu") is None
    assert list(found.runs) == ["2026-01-02"], "a run of which no row is left says nothing"


def test_a_ratio_is_of_rows_of_one_run_only() -> None:
    found = Results()
    found.add(CONSUMER, run("2026-01-01"), {"cpu": 30.0})
    found.add(PEER, run("2026-01-01"), {"cpu": 20.0})
    assert found.ratio(CONSUMER, PEER, "cpu") == 1.5
    found.add(PEER, run("2026-01-02"), {"cpu": 20.0})
    assert found.ratio(CONSUMER, PEER, "cpu") is None
    assert sorted(found.runs) == ["2026-01-01", "2026-01-02"]


def test_a_row_that_is_measured_is_no_longer_left_out() -> None:
    found = Results(skipped={str(PEER): "there is no Maven"}, failed={str(CONSUMER): "it ended with 2"})
    found.add(CONSUMER, run("2026-01-01"), {"cpu": 1.0})
    assert (found.skipped, found.failed) == ({str(PEER): "there is no Maven"}, {})


def test_profiles_that_came_out_wrong_in_any_run_are_counted() -> None:
    found = Results()
    for wrong in (0.0, 7.0, 0.0):
        found.add(CONSUMER, run("2026-01-01"), {"wrong": wrong})
    found.add(PEER, run("2026-01-01"), {"wrong": 2.0})
    assert found.wrong == 9


def test_results_are_kept_and_those_of_the_quick_table_are_for_the_eye_only(tmp_path: Path) -> None:
    found = Results()
    found.add(CONSUMER, run("2026-01-02"), {"cpu": 1.23456789})
    for name in ("2026-01-01.json", "2026-01-02.json", "2026-01-03-quick.json"):
        results.keep(found, tmp_path / name)
    assert results.newest(tmp_path).name == "2026-01-02.json"
    assert results.load(results.newest(tmp_path)).median(CONSUMER, "cpu") == pytest.approx(1.2346)
    assert results.load(tmp_path / "none.json") == Results()

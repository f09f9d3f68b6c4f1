"""Can the chaos suite fail? What it judges by, on inputs that are wrong."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chaos import strangers, supervisor
from chaos.__main__ import seeds_of
from chaos.database_stand import copy_of, restore
from chaos.expectation import Announced, differences, files, last_by_order, last_by_sequence
from chaos.odd import left_out
from chaos.redis_stand import cut_tail
from chaos.results import add, kept, missing, summary
from chaos.run import Outcome
from chaos.supervisor import Supervised
from chaos.timeline import Timeline
from chaos.verdict import tracebacks
from snapshot.kafka.settings import KAFKA_PYTHON, LIBRDKAFKA
from support.process import wait_until
from support.rebuilding import rows_of
from support.reference import reference_snapshots
from support.whiteballoon import WhiteBalloon, execute

KEY = (1, "elm")


def snapshot(count: int, user_id: int = 1) -> dict[str, object]:
    return {
        "user_id": user_id,
        "group_slug": "elm",
        "message_count": count,
        "last_seen_at": "2024-06-01T09:00:00",
        "top_tags": [],
    }


def test_missing_wrong_and_superfluous_profiles_are_differences() -> None:
    wanted = {(1, "elm"): snapshot(1), (2, "elm"): snapshot(1, 2)}
    found = {(1, "elm"): snapshot(2), (3, "elm"): snapshot(1, 3)}
    lines = differences(wanted, found, "file")
    assert [line.split(": ")[:2] for line in lines] == [
        ["file 1:elm", "message_count is 2, not 1"],
        ["file 2:elm", "missing; should be 1 comments, the last at 2024-06-01T09:00:00"],
        ["file 3:elm", "should not be there; is 1 comments, the last at 2024-06-01T09:00:00"],
    ]
    assert differences(wanted, wanted, "file") == []


def test_an_older_announcement_after_a_newer_one_is_seen_by_order_and_a_lower_sequence_by_sequence() -> None:
    older, newer = Announced(KEY, 1, snapshot(1)), Announced(KEY, 2, snapshot(2))
    assert last_by_order([newer, older]) == {KEY: snapshot(1)}
    assert last_by_sequence([newer, older]) == {KEY: snapshot(2)}
    assert last_by_order([newer, Announced(KEY, 3, None)]) == {}


def test_only_files_under_their_own_name_are_profiles(tmp_path: Path) -> None:
    (tmp_path / "1-elm.json").write_text(json.dumps(snapshot(1)))
    (tmp_path / "2-elm.json").write_text(json.dumps(snapshot(1)))
    (tmp_path / "3-elm.json").write_text("{")
    (tmp_path / "4-elm.json").symlink_to(tmp_path / "1-elm.json")
    assert files(tmp_path) == {KEY: snapshot(1)}


def test_a_file_of_other_people_that_is_gone_or_changed_is_named(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("profiles", "scoped", "elsewhere")]
    for folder in folders:
        folder.mkdir()
    check = strangers.plant(*folders)
    assert check() == []
    (folders[0] / "2024-budget.json").unlink()
    (folders[2] / "precious.json").write_text("")
    (folders[0] / "900005-elm.json").unlink()
    assert sorted(Path(path).name for path in check()) == ["2024-budget.json", "900005-elm.json", "precious.json"]


def test_tracebacks_in_plain_and_in_json_lines_are_counted_by_their_error(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    plain = 'Traceback (most recent call last):\n  File "a", line 1, in b\nValueError: c\n'
    log.write_text(f"{plain}{json.dumps({'level': 'error', 'exception': plain.strip()})}\nall is well\n")
    assert [line.split(" ", 1)[0] for line in tracebacks(log)] == ["1", "1"]
    log.write_text("all is well\n")
    assert tracebacks(log) == []


def test_the_tail_of_the_newest_append_only_file_is_cut(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    for number in (9, 10):
        (tmp_path / f"appendonlydir/appendonly.aof.{number}.incr.aof").write_bytes(b"x" * 100)
    assert cut_tail(tmp_path, 0.25) == 25
    assert [path.stat().st_size for path in sorted((tmp_path / "appendonlydir").iterdir())] == [75, 100]


# ------------------------------------------------------------------------------------------------------- the supervisor

AT_WORK = 'print(\'{"level": "info"}\', flush=True)'
Starts = Callable[[str], Supervised]


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Starts:
    """A supervised process that runs this Python."""
    monkeypatch.setattr(supervisor, "HERE", Path(sys.executable).parent)

    def start(code: str) -> Supervised:
        words = [Path(sys.executable).name, "-c", code]
        return Supervised("x", words, {}, tmp_path / "x.log", Timeline(tmp_path / "timeline"))

    return start


def until_ended(process: Supervised, *, trouble: bool) -> None:
    process.look(trouble=trouble)
    wait_until(lambda: not process.running, "its end")
    process.look(trouble=trouble)


def test_a_process_that_ends_by_itself_is_a_failure_even_with_code_0(starts: Starts) -> None:
    process = starts("pass")
    until_ended(process, trouble=True)
    assert "ended by itself: exit code 0" in process.failures[0]


def test_a_start_may_be_refused_while_something_is_out_of_order_only(starts: Starts) -> None:
    refused = starts("raise SystemExit(2)")
    until_ended(refused, trouble=True)
    assert (refused.refused, refused.failures) == (1, [])
    calm = starts("raise SystemExit(2)")
    until_ended(calm, trouble=False)
    assert calm.failures
    at_work = starts(f"{AT_WORK}; raise SystemExit(2)")
    until_ended(at_work, trouble=True)
    assert at_work.failures


def test_what_was_killed_starts_again_and_what_is_asked_to_end_must_end_with_0(starts: Starts) -> None:
    process = starts(f"{AT_WORK}; import time; time.sleep(1000)")
    process.look(trouble=False)
    wait_until(process.at_work, "its start")
    process.kill()
    assert not process.running

    def again() -> bool:
        process.look(trouble=False)
        return process.running and process.at_work()

    wait_until(again, "its second start")
    assert process.failures == []
    process.finish()  # it was at work, and knows nothing of SIGTERM
    assert "did not end in order when asked to: exit code -15" in process.failures[0]


# --------------------------------------------------------------------------------------------------------- the results


def outcome(seed: int, *failures: str, seconds: float = 60.0) -> Outcome:
    return Outcome(
        seed=seed,
        mode="kafka",
        seconds=seconds,
        failures=list(failures),
        changes={"edit": 2},
        faults={"kill": 1},
        recovery_seconds=None if failures else float(seed),
        confirmed=False,
        refused_starts=0,
        kept=None,
    )


def test_a_run_goes_on_with_the_seeds_that_are_missing_were_shorter_or_failed() -> None:
    done = [outcome(1), outcome(2, "wrong"), outcome(3, seconds=10)]
    assert missing(seeds_of("1-4"), 60, done) == [2, 3, 4]


def test_what_ran_with_another_client_or_in_another_mode_does_not_count(tmp_path: Path) -> None:
    for one in (outcome(1), msgspec.structs.replace(outcome(2), client=LIBRDKAFKA)):
        add(tmp_path, one)
    assert [one.seed for one in kept(tmp_path, "kafka", LIBRDKAFKA)] == [2]
    assert [one.seed for one in kept(tmp_path, "kafka", KAFKA_PYTHON)] == [1]
    assert kept(tmp_path, "embedded", LIBRDKAFKA) == []


def test_the_summary_names_the_slowest_recovery_and_what_failed() -> None:
    text = summary([outcome(1), outcome(5), outcome(2, "wrong")])
    assert "6 changes: 6 edit" in text
    assert "3 faults: 3 kill" in text
    assert "slowest recovery: 5.0 s (seed 5)" in text
    assert "failing seeds: 2\n" in text
    assert "wrong" in text


# ------------------------------------------------------------------------------------------------------- the database


def test_rows_with_odd_values_are_left_out_of_the_recount_and_survive_a_backup(tmp_path: Path) -> None:
    wb = WhiteBalloon.in_folder(tmp_path)
    request_id, (user_id,) = wb.add_group("elm", "Elm St")
    for _ in range(3):
        wb.analyse(wb.comment(user_id, request_id), tags=["ride"])
    execute(wb.main_url, "UPDATE request_comments SET body = x'00ff' WHERE id = 1")
    execute(wb.main_url, "UPDATE request_comments SET created_at = 'soon' WHERE id = 2")
    execute(wb.insights_url, "UPDATE comment_llm_analyses SET tags = x'00ff' WHERE comment_id = 3")

    def recount() -> dict[tuple[int, str], dict[str, Any]]:
        return reference_snapshots(left_out(rows_of(wb)))

    (found,) = recount().values()
    assert (found["message_count"], found["top_tags"]) == (1, [])
    copy = copy_of(wb)
    wb.hard_delete(3)
    assert recount() == {}
    restore(wb, copy)
    assert recount() == {(user_id, "elm"): found}

"""The run log: one whole line for each run, however it ends."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from structlog.testing import capture_logs

from projections.errors import OperatorError
from snapshot.cli.run_log import FILE_NAME, RunLog

START = datetime(2026, 11, 21, 4, 5, tzinfo=UTC)


def lines(storage: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (storage / FILE_NAME).read_text(encoding="utf-8").splitlines()]


def fail(log: RunLog, error: BaseException) -> None:
    with log as run:
        run.entry.users = 1
        raise error


def moments() -> Iterator[datetime]:
    now = START
    while True:
        yield now
        now += timedelta(seconds=2.5)


def test_a_run_is_a_line_with_its_keys_in_order(tmp_path: Path) -> None:
    clock, seconds = moments(), iter([10.0, 12.5])
    with RunLog(
        tmp_path, "snapshot-rebuild", group_slug="elm", clock=lambda: next(clock), monotonic=lambda: next(seconds)
    ) as run:
        entry = run.entry
        entry.users, entry.profiles_written, entry.unchanged, entry.removed, entry.drift = 12, 3, 8, 1, 2
    assert (tmp_path / FILE_NAME).read_bytes() == (
        b'{"started":"2026-11-21T04:05:00.000Z","finished":"2026-11-21T04:05:02.500Z","seconds":2.5,'
        b'"command":"snapshot-rebuild","group_slug":"elm","users":12,"profiles_written":3,"unchanged":8,"removed":1,'
        b'"drift":2,"dry_run":false,"error":null}\n'
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OperatorError("DATABASE_URL is wrong;\ncorrect it"), "DATABASE_URL is wrong; correct it"),
        (OperatorError("redis://h/0?password=sesame is unreachable"), "redis://h/0?password=*** is unreachable"),
        (ValueError("a mistake of ours"), "ValueError: a mistake of ours"),
        (KeyboardInterrupt(), "interrupted"),
        (typer.Exit(1), None),
        (SystemExit(1), None),
    ],
)
def test_a_run_that_fails_says_why_and_its_error_goes_on(tmp_path: Path, error: BaseException, said: str) -> None:
    with pytest.raises(type(error)):
        fail(RunLog(tmp_path, "wb", dry_run=True), error)
    (line,) = lines(tmp_path)
    assert (line["error"], line["users"], line["dry_run"]) == (said, 1, True)


def test_an_error_set_by_the_run_is_kept(tmp_path: Path) -> None:
    run = RunLog(tmp_path, "wb")
    run.entry.error = "blocked"
    with pytest.raises(typer.Exit):
        fail(run, typer.Exit(2))
    assert lines(tmp_path)[0]["error"] == "blocked"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_termination_ends_the_run_with_its_line_and_the_handler_is_put_back(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as caught, RunLog(tmp_path, "wb"):
            os.kill(os.getpid(), number)
        assert caught.value.code == code
        assert lines(tmp_path)[0]["error"] == "terminated"
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_another_handler_and_other_threads_are_left_alone(tmp_path: Path) -> None:
    caught: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: caught.append(number))
    try:
        with RunLog(tmp_path, "wb"):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught == [signal.SIGTERM]

    def run() -> None:
        with RunLog(tmp_path, "nightly"):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert [(line["command"], line["error"]) for line in lines(tmp_path)] == [("wb", None), ("nightly", None)]


def test_a_folder_that_cannot_be_written_hides_no_error_and_fails_no_run(tmp_path: Path) -> None:
    (tmp_path / "storage").write_text("a file in the folder's place")
    with (
        capture_logs() as logged,
        pytest.raises(OperatorError, match="no such group"),
        RunLog(tmp_path / "storage", "wb"),
    ):
        raise OperatorError("no such group")
    with capture_logs() as logged_too, RunLog(tmp_path / "storage", "wb"):
        pass
    assert not logged, "one error, one line"
    assert [line["event"] for line in logged_too] == ["the run log can't be written"]


def test_it_has_the_mode_that_was_chosen(tmp_path: Path) -> None:
    with RunLog(tmp_path / "storage", "wb", file_mode=0o600):
        pass
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "storage", tmp_path / "storage" / FILE_NAME)] == [
        0o700,
        0o600,
    ]


def test_runs_at_once_leave_whole_lines(tmp_path: Path) -> None:
    together = threading.Barrier(8)

    def run(number: int) -> None:
        together.wait()
        for _ in range(25):
            with RunLog(tmp_path, f"run {number} {'x' * 2000}"):
                pass

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    commands = [line["command"].split()[1] for line in lines(tmp_path)]
    assert sorted(commands) == sorted(str(number) for number in range(8) for _ in range(25))

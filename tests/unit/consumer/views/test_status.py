"""What the status says in words, and the last rebuild by the run log."""

from pathlib import Path

import msgspec

from consumer.views.status import DatabaseStatus, Status, last_run
from snapshot.cli.run_log import RunEntry


def test_the_last_rebuild_is_found_among_other_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_run(log, "snapshot-rebuild") is None
    runs = [
        RunEntry(command="snapshot-rebuild", group_slug=None, dry_run=False, drift=1),
        RunEntry(command="snapshot-rebuild", group_slug=None, dry_run=False, drift=2),
        RunEntry(command="snapshot-rebuild", group_slug=None, dry_run=True, drift=3),
        RunEntry(command="wb", group_slug=None, dry_run=False, drift=4),
    ]
    lines = [msgspec.json.encode(one) for one in runs]
    log.write_bytes(b"x" * 300_000 + b"\n" + b"\n".join(lines) + b'\n{"torn')
    found = last_run(log, "snapshot-rebuild")
    assert found is not None
    assert found.drift == 2


def test_what_never_was_is_no_time_ago() -> None:
    database = DatabaseStatus(url="sqlite:///a.db", followed=False)
    assert database.looks == "never polled, never swept whole"
    database.polled_seconds = 3.0
    assert database.looks == "polled 3.0 s ago, never swept whole"


def test_buckets_that_recover_are_counted_by_reason_and_the_last_rebuild_is_in_words() -> None:
    status = Status(
        processes=[],
        database=DatabaseStatus(url="sqlite:///a.db", followed=False),
        kafka=None,
        folders=[],
        recovering={**dict.fromkeys(range(1, 64), "its state is missing"), 0: "another"},
        failures=0,
        failed={},
        troubles=[],
        blocked=[],
        confirm=None,
        dead_letters=0,
        last_rebuild=None,
    )
    assert status.recovering_by_reason == ["63 of 64 buckets: its state is missing", "1 of 64 buckets: another"]
    assert status.rebuild == "none in this storage folder's run log"
    run = RunEntry(command="snapshot-rebuild", group_slug=None, dry_run=False, users=1_323, drift=1)
    run.finished, run.seconds = "2026-11-21T04:05:07.951Z", 7.94
    status.last_rebuild = run
    assert status.rebuild == "2026-11-21 04:05, 7.9 s, 1,323 users checked, 1 profile drifted"

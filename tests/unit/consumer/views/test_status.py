"""The last rebuild, by the run log."""

from pathlib import Path

import msgspec

from consumer.views.status import last_run
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

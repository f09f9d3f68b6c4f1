import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from snapshot.fixtures import EXAMPLE
from snapshot.schema import LinkStat, SignalProfileSnapshot, TagStat, json_schema, parse_file

DOCS = Path(__file__).parents[3] / "docs" / "dev"
PAGE = (DOCS / "signal_profile_snapshots.md").read_text(encoding="utf-8")


def test_the_pages_example_is_a_snapshot_and_its_hash_is_right() -> None:
    shown = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    stated = re.search(r"Its hash: `([0-9a-f]{64})`", PAGE)
    assert shown
    assert stated
    snapshot = parse_file(shown[1].encode())
    assert snapshot == EXAMPLE
    assert snapshot.file_bytes() == shown[1].encode()
    assert SignalProfileSnapshot.from_dict(json.loads(shown[1])).to_dict() == json.loads(shown[1])
    assert snapshot.snapshot_hash == stated[1]


@pytest.mark.parametrize("struct", [SignalProfileSnapshot, LinkStat, TagStat])
def test_the_pages_tables_name_every_field(struct: type[SignalProfileSnapshot | LinkStat | TagStat]) -> None:
    table = PAGE.split(f"\n`{struct.__name__}`\n")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(struct.__struct_fields__)


def test_the_committed_json_schema_is_that_of_the_code() -> None:
    committed = json.loads((DOCS / "signal_profile_snapshot.schema.json").read_text(encoding="utf-8"))
    assert committed == json_schema()


LINK, TAG = {"url": "https://a.org/", "domain": "a.org", "count": 1}, {"label": "a", "count": 1}
NONSENSE: list[dict[str, object]] = [
    {"user_id": "x"},
    {"message_count": 0},
    {"first_seen_at": "2025-01-01T00:00:00"},
    {"top_links": ("a",)},
    {"top_links": [{"url": f"https://a.org/{number}", "domain": "a.org", "count": 1} for number in range(6)]},
    {"top_links": [LINK, LINK]},
    {"top_links": [LINK | {"domain": "b.org"}]},
    {"top_tags": [TAG, TAG]},
    {"top_tags": [TAG, {"label": "b", "count": 2}]},
    {"attachment_counts": {"zip": 1}},
    {"request_ids": None},
    {"request_ids": ()},
    {"request_ids": (3, 3)},
]


def test_another_project_can_use_the_fixtures(tmp_path: Path) -> None:
    named = re.findall(r"^\| `(\w*signal_profile\w*)` \|", PAGE, re.MULTILINE)
    assert len(named) == 3
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["snapshot.fixtures"]\n')
    (tmp_path / "test_theirs.py").write_text(
        f"def test_theirs({', '.join(named)}):\n"
        "    assert signal_profile_snapshot.to_dict() == signal_profile_snapshot_dict\n"
        "    assert make_signal_profile_snapshot(user_id=7).user_id == 7\n"
        f"    for nonsense in {NONSENSE}:\n"
        "        try:\n"
        "            made = make_signal_profile_snapshot(**nonsense)\n"
        "        except ValueError as error:\n"
        "            assert next(iter(nonsense)) in str(error)\n"
        "        else:\n"
        "            raise AssertionError(made)\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=DOCS.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in run.stdout, run.stdout + run.stderr


def test_reading_snapshots_needs_no_pytest() -> None:
    code = "import sys, snapshot.schema; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=DOCS.parents[1], check=False).returncode == 0

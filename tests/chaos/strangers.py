"""Files of other people in our folders, named like profiles or not: they are to stay as they are."""

import json
from collections.abc import Callable
from pathlib import Path

Check = Callable[[], list[str]]
"""Says which of them are not as they were."""


def plant(profiles: Path, scoped: Path, elsewhere: Path) -> Check:
    """Put them into the two folders of profiles; none is the place of a profile that ever lives."""
    snapshot = {"user_id": 900_001, "group_slug": "elm", "message_count": 3}
    files = {
        profiles / "2024-budget.json": '{"rent": 1200}',
        profiles / "900002-elm.json": "not even JSON",
        profiles / "900003-oak.json": json.dumps(snapshot),  # a snapshot, but of another key
        profiles / "900004-elm.json.bak": json.dumps(snapshot),
        profiles / "notes.txt": "mine",
        profiles / "package.json": "{}",
        profiles / ".0123456789abcdef.txt": "a temporary name, almost",
        scoped / "2024.json": "[1, 2]",
        scoped / "900002-elm.json": "{}",
        elsewhere / "precious.json": json.dumps(snapshot),
    }
    for path, text in files.items():
        path.write_text(text)
    (profiles / "900005-elm.json").symlink_to(elsewhere / "precious.json")
    (profiles / "900006-elm.json").mkdir()
    (profiles / "900006-elm.json" / "inside.json").write_text("{}")
    kept = dict(files) | {profiles / "900006-elm.json" / "inside.json": "{}"}

    def check() -> list[str]:
        wrong = [str(path) for path, text in kept.items() if not path.is_file() or path.read_text() != text]
        link = profiles / "900005-elm.json"
        return wrong + ([] if link.is_symlink() else [str(link)])

    return check

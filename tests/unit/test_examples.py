"""The examples run as they say."""

import json
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_following_announcements_ignores_what_is_older(tmp_path: Path) -> None:
    def news(sequence: int, messages: int | None) -> str:
        snapshot = None if messages is None else {"message_count": messages}
        cause = {"event": "comment-created", "comment_id": sequence}
        return json.dumps(
            {"user_id": 1, "group_slug": "elm", "sequence": sequence, "snapshot": snapshot, "cause": cause}
        )

    path = tmp_path / "snapshot-changed.jsonl"
    path.write_text("\n".join([news(2, 5), news(1, 4), news(3, None), '{"torn']), encoding="utf-8")
    program = [sys.executable, str(EXAMPLES / "follow_announcements.py"), str(path), "--once"]
    said = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [
        "(1, 'elm'): 5 messages, because of {'event': 'comment-created', 'comment_id': 2}",
        "(1, 'elm'): gone",
    ]

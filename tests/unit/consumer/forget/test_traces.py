"""What counts as being about a user, in lines and in names of files; and what does not."""

import re
from pathlib import Path

import pytest

from consumer.dead_letters.dead_letters import DeadLetter
from consumer.forget.traces import concerns_user, generations, holds_user, names_user, owned_files, temporary_files
from consumer.source import Invalid
from projections.profile_key import ProfileKey
from snapshot.files.folder import open_folder
from support.profile_files import profile_file


@pytest.mark.parametrize(
    "line",
    [
        b"user 3 has no comment, no membership of a group and no profile",
        b"user 12, 3, 4 is in no imported Signal group",
        b"fix it with `snapshot-rebuild --user 3`",
        b"the change of the profile 3:a b can't be announced",
        b"/storage/signal_profiles/3-lions.json can't be written",
        b"/storage/lions/3.json can't be written",
    ],
)
def test_a_line_of_the_run_log_names_a_user(line: bytes) -> None:
    assert names_user(3)(line)
    assert not names_user(3)(re.sub(rb"\b3\b", b"33", line))
    assert not names_user(3)(re.sub(rb"\b3\b", b"23", line))


def test_times_and_counts_of_the_run_log_name_nobody() -> None:
    line = (
        b'{"started":"2026-03-03T03:03:03.003Z","seconds":3.3,"users":3,"drift":3,"error":"comment-created/3: a gap"}'
    )
    assert not any(names_user(user)(line) for user in (3, 2026))


def letter(key: bytes | None, value: bytes | None) -> DeadLetter:
    return DeadLetter(Invalid("comment-created", 0, 7, key, value, [], "no event"), "")


@pytest.mark.parametrize(
    ("key", "value"),
    [(b"3", None), (None, b'{"user_id": 3'), (b"9", b'{"a":1,"user_id":3}'), (None, b'"{\\"user_id\\":\\"3\\"}"')],
)
def test_a_dead_letter_concerns_a_user_by_its_key_or_by_its_value(key: bytes | None, value: bytes | None) -> None:
    assert concerns_user(3)(letter(key, value))
    assert not concerns_user(33)(letter(key, value))
    assert not holds_user(3)(b'{"user_id":33,"help_request_id":3}')


def test_rotated_files_lie_beside_and_compressed_ones_are_named(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.jsonl.1", "a.jsonl-20260102", "a.jsonl.2.gz", "b.jsonl", "a.jsonlines"):
        (tmp_path / name).touch()
    (tmp_path / "a.jsonl.d").mkdir()
    plain, compressed = generations(tmp_path / "a.jsonl")
    assert [path.name for path in plain] == ["a.jsonl", "a.jsonl-20260102", "a.jsonl.1"]
    assert [path.name for path in compressed] == ["a.jsonl.2.gz"]
    assert generations(tmp_path / "none" / "a.jsonl") == ([], [])


def test_files_of_a_user_are_ours_by_their_content_alone(tmp_path: Path) -> None:
    mine, other = ProfileKey(3, "lions"), ProfileKey(33, "lions")
    folder = open_folder(tmp_path, None)
    for key in (mine, other):
        folder.place(key).write_bytes(profile_file(*key))
    (tmp_path / "3-budget.json").write_text("{}")
    for token, content in (("0" * 16, profile_file(*mine)), ("1" * 16, profile_file(*other)), ("2" * 16, b"{")):
        (tmp_path / f".{token}.tmp").write_bytes(content)
    assert owned_files(folder, 3) == {"3-lions.json": mine, "3-budget.json": None}
    assert list(temporary_files(folder, 3)) == [str(tmp_path / f".{'0' * 16}.tmp")]
    folder.close()

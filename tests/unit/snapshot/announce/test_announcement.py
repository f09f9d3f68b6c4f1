import json
import multiprocessing
from pathlib import Path
from typing import Any

from snapshot.announce.announcement import Announcement, key_of, value_of
from snapshot.announce.file import FileAnnouncer


def announcement(sequence: int, *, gone: bool = False) -> Announcement:
    return Announcement(
        user_id=7,
        group_slug="harvard",
        snapshot=None if gone else {"b": [1, "é\n"], "a": {"z": 1, "y": 2}},
        snapshot_hash=None if gone else "h2",
        previous_hash="h1",
        sequence=sequence,
        cause={"event": "comment-created", "comment_id": 3},
    )


def test_a_value_has_all_fields_in_one_order_on_one_line() -> None:
    assert value_of(announcement(5)).decode() == (
        '{"user_id":7,"group_slug":"harvard","snapshot":{"a":{"y":2,"z":1},"b":[1,"é\\n"]},"snapshot_hash":"h2",'
        '"previous_hash":"h1","sequence":5,"cause":{"comment_id":3,"event":"comment-created"}}'
    )


def test_the_key_names_the_profile() -> None:
    assert key_of(announcement(5)) == "7:harvard"


def test_a_profile_that_is_gone_has_a_line_without_snapshot(tmp_path: Path) -> None:
    assert FileAnnouncer(tmp_path / "changed.jsonl").announce([announcement(5, gone=True)]) == [None]
    [line] = lines(tmp_path / "changed.jsonl")
    assert line["snapshot"] is None
    assert line["sequence"] == 5


def test_batches_are_appended_and_the_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "changed.jsonl"
    assert FileAnnouncer(path).announce([announcement(1), announcement(2)]) == [None, None]
    FileAnnouncer(path).announce([announcement(3)])
    assert [line["sequence"] for line in lines(path)] == [1, 2, 3]


def test_nothing_to_announce_makes_no_file(tmp_path: Path) -> None:
    assert FileAnnouncer(tmp_path / "changed.jsonl").announce([]) == []
    assert not list(tmp_path.iterdir())


def test_a_torn_last_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "changed.jsonl"
    FileAnnouncer(path).announce([announcement(1)])
    with path.open("ab") as file:
        file.write(b'{"cause":{"comm')
    FileAnnouncer(path).announce([announcement(2)])
    whole, torn, after = path.read_text().splitlines()
    assert json.loads(whole)["sequence"] == 1
    assert torn == '{"cause":{"comm'
    assert json.loads(after)["sequence"] == 2


def test_a_file_that_cannot_be_written_fails_every_announcement(tmp_path: Path) -> None:
    (tmp_path / "changed.jsonl").mkdir()
    outcomes = FileAnnouncer(tmp_path / "changed.jsonl").announce([announcement(1), announcement(2)])
    assert [type(outcome) for outcome in outcomes] == [IsADirectoryError, IsADirectoryError]


def test_several_processes_leave_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "changed.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write, args=(path, first)) for first in (0, 1000, 2000)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    found = [line["sequence"] for line in lines(path)]
    assert sorted(found) == [first + number for first in (0, 1000, 2000) for number in range(60)]
    for first in (0, 1000, 2000):
        mine = [sequence for sequence in found if first <= sequence < first + 1000]
        assert mine == sorted(mine)


def write(path: Path, first: int) -> None:
    announcer = FileAnnouncer(path)
    for number in range(0, 60, 3):
        announcer.announce([announcement(first + number + more) for more in range(3)])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]

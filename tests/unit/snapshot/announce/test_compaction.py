"""The file of announcements is compacted as a topic is."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot.announce import compaction
from snapshot.announce.announcement import Announcement, value_of
from snapshot.announce.compaction import compact
from snapshot.announce.file import FileAnnouncer
from snapshot.files import jsonl


def said(user_id: int, sequence: int, slug: str = "elm") -> Announcement:
    return Announcement(
        user_id=user_id,
        group_slug=slug,
        snapshot=None,
        snapshot_hash=None,
        previous_hash=None,
        sequence=sequence,
        cause={"event": "", "comment_id": 0},
    )


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5), st.sampled_from(["elm", "el:m"]))))
def test_the_highest_sequence_of_each_profile_stays(
    tmp_path_factory: pytest.TempPathFactory, found: list[tuple[int, int, str]]
) -> None:
    path = tmp_path_factory.mktemp("compacted") / "lines"
    path.touch()
    FileAnnouncer(path).announce([said(*one) for one in found])
    done = compact(path)
    last = {(user, slug): max(one[1] for one in found if one[::2] == (user, slug)) for user, _, slug in found}
    kept = [value_of(said(user, sequence, slug)) for (user, slug), sequence in last.items()]
    assert sorted(path.read_bytes().splitlines()) == sorted(kept)
    assert done == (len(kept), len(found) - len(kept))


def test_torn_lines_go_and_what_is_appended_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b'{"user_id":1,"grou\n\xff\xfe\n' + value_of(said(1, 1)) + b"\n")
    rewrite = jsonl.remove_lines

    def appended_before(*arguments: object) -> int:
        FileAnnouncer(path).announce([said(1, 2), said(2, 1)])
        return rewrite(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(compaction, "remove_lines", appended_before)
    assert compact(path) == (3, 2)
    assert path.read_bytes().splitlines() == [value_of(said(*one)) for one in [(1, 1), (1, 2), (2, 1)]]
    monkeypatch.undo()
    assert compact(path) == (2, 1)

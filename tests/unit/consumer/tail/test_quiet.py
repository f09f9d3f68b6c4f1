"""A tail over a SQLite file to which nothing is committed: what it reads all the same, and how often."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from projections.profile_key import ProfileKey
from support.tailing import Embedded
from support.whiteballoon import WhiteBalloon, file_of

_LIONS = "lions"


@pytest.fixture
def wb(tmp_path: Path) -> WhiteBalloon:
    return WhiteBalloon.in_folder(tmp_path / "wb")


@pytest.fixture
def one(wb: WhiteBalloon, monkeypatch: pytest.MonkeyPatch) -> Iterator[Embedded]:
    monkeypatch.setattr("projections.database.connection.QUIET_S", 0.05)
    monkeypatch.setattr("projections.database.connection.RECHECK_S", 0.1)
    request, (user,) = wb.add_group(_LIONS, "Lions")
    wb.comment(user, request, "hello")
    found = Embedded(wb)
    found.catch_up()
    yield found
    found.close()


def _rounds(one: Embedded, monkeypatch: pytest.MonkeyPatch, looks: int) -> int:
    """How many rounds over all rows begin until the database was looked at so many times without a commit."""
    read, begun = one.database.comments_after, []

    def comments_after(comment_id: int, limit: int = 5_000) -> object:
        begun.append(comment_id)
        return read(comment_id, limit)

    monkeypatch.setattr(one.database, "comments_after", comments_after)
    tokens = set[str]()

    def looked() -> bool:
        tokens.add(one.database.change_token())
        return len(tokens) > looks

    one.until(looked)
    return begun.count(0)


def test_no_round_is_read_for_looks_that_show_no_commit(one: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    _rounds(one, monkeypatch, 2)  # what was committed before is in the files by then
    assert _rounds(one, monkeypatch, 6) == 0


def test_an_edit_that_the_file_does_not_show_is_found_by_the_next_round(
    wb: WhiteBalloon, one: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    _rounds(one, monkeypatch, 2)
    path, key = file_of(wb.main_url), ProfileKey(1, _LIONS)
    stamp = path.stat().st_mtime_ns
    wb.edit(1, "https://example.org/new")
    os.utime(path, ns=(stamp, stamp))
    monkeypatch.setattr("consumer.tail.tail._UNSEEN_SECONDS", 0.1)

    def counted() -> bool:
        head = one.projection.read_current([key])[key].head
        return head is not None and len(head.links.leaders) == 1

    one.until(counted)

"""Every kind of change reaches the store through the tail in process."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy.exc import IntegrityError

from projections.comments.rows import CommentRow
from support.tailing import Embedded
from support.whiteballoon import START, WhiteBalloon


@pytest.fixture
def white_balloon(tmp_path: Path) -> WhiteBalloon:
    return WhiteBalloon.in_folder(tmp_path / "wb")


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest) -> WhiteBalloon:
    if request.param == "sqlite":
        found: WhiteBalloon = request.getfixturevalue("white_balloon")
        return found
    url: str = request.getfixturevalue("postgres_url")
    made = WhiteBalloon(url, url)
    made.create()
    return made


@pytest.fixture
def embedded(white_balloon: WhiteBalloon) -> Iterator[Embedded]:
    made = Embedded(white_balloon)
    yield made
    made.close()


def counts(embedded: Embedded) -> dict[tuple[int, str], int]:
    keys = embedded.projection.store.profiles(0, 2**63 - 1)
    shown = embedded.projection.read_current(keys)
    return {
        (key.user_id, key.group_slug): one.head.count
        for key, one in shown.items()
        if one.head is not None and one.head.count
    }


def test_backfills_an_empty_store(white_balloon: WhiteBalloon, embedded: Embedded) -> None:
    request, users = white_balloon.add_group("elm", "Elm St", members=3)
    for user in users:
        for _ in range(4):
            white_balloon.analyse(white_balloon.comment(user, request), tags=["a"])
    embedded.catch_up()
    assert counts(embedded) == {(user, "elm"): 4 for user in users}
    assert embedded.drift() == []


class Scene(NamedTuple):
    """A group "elm" with two members; the first has three comments, the second of them analysed."""

    wb: WhiteBalloon
    request: int
    user: int
    other: int
    comment: int


def scene(wb: WhiteBalloon) -> Scene:
    request, (user, other) = wb.add_group("elm", "Elm St", members=2)
    for number in (10, 20, 30):
        wb.comment(user, request, at=START, comment_id=number)
    wb.analyse(20, tags=["old"])
    return Scene(wb, request, user, other, 20)


def all_gone(at: Scene) -> None:
    at.wb.hard_delete(at.comment)
    at.wb.remove_analysis(at.comment)


def moved_without_analysis(at: Scene) -> None:
    at.wb.move(at.comment, user_id=at.other)
    at.wb.remove_analysis(at.comment)


CHANGES: dict[str, Callable[[Scene], object]] = {
    "a new comment": lambda at: at.wb.comment(at.user, at.request),
    "a soft deletion": lambda at: at.wb.soft_delete(at.comment),
    "an edit": lambda at: at.wb.edit(at.comment, "https://example.org/edited"),
    "a hard deletion": lambda at: at.wb.hard_delete(at.comment),
    "a move to another user": lambda at: at.wb.move(at.comment, user_id=at.other),
    "a move to a request of no group": lambda at: at.wb.move(at.comment, request_id=at.wb.add_request("Sofa")),
    "a new analysis": lambda at: at.wb.analyse(10, tags=["new"], run_id="run-9"),
    "a replaced analysis": lambda at: at.wb.analyse(at.comment, tags=["new"]),
    "a vanished analysis": lambda at: at.wb.remove_analysis(at.comment),
    "an ended membership": lambda at: at.wb.leave(at.user, "elm"),
    "a begun membership": lambda at: at.wb.join(at.user, "oak", "Elm St"),
    "a member whose group gets another name": lambda at: at.wb.join(at.user, "elm", "Elsewhere"),
    "a title that leaves the group": lambda at: at.wb.rename_request(at.request, "Sofa"),
    "a replaced analysis whose run stays as it is": lambda at: at.wb.analyse(at.comment, tags=["new"], counted=False),
    "a new analysis whose run stays as it is": lambda at: at.wb.analyse(30, tags=["new"], counted=False),
    "a comment whose row and analysis go": all_gone,
    "a comment that moves to another user and loses its analysis": moved_without_analysis,
    "an id that is another user's at once": lambda at: at.wb.reuse(at.comment, user_id=at.other),
    "the highest id, another user's at once": lambda at: at.wb.reuse(30, user_id=at.other),
    "an edit, a move and the end of the membership at once": lambda at: at.wb.upheave(
        at.comment, "elm", request_id=at.wb.add_request("[Signal] Elm St")
    ),
    "a user who is removed": lambda at: at.wb.remove_user(at.user),
    "a second request of the group": lambda at: at.wb.move(at.comment, request_id=at.wb.add_request("[Signal] Elm St")),
    "an id below the head": lambda at: at.wb.comment(at.user, at.request, comment_id=15),
}
every_change = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())


@every_change
def test_a_change_is_followed_while_it_runs(either: WhiteBalloon, change: Callable[[Scene], object]) -> None:
    at = scene(either)
    embedded = Embedded(either)
    embedded.catch_up()
    assert counts(embedded) == {(at.user, "elm"): 3}
    change(at)
    assert embedded.drift()
    embedded.catch_up()
    assert embedded.drift() == []
    embedded.close()


@every_change
def test_a_change_while_nobody_looked_is_found_at_the_next_start(
    white_balloon: WhiteBalloon, embedded: Embedded, change: Callable[[Scene], object]
) -> None:
    at = scene(white_balloon)
    embedded.catch_up()
    embedded.source.close()
    change(at)
    successor = Embedded(white_balloon, embedded.projection.store)
    assert successor.drift()
    successor.catch_up()
    assert successor.drift() == []
    successor.close()


@every_change
def test_a_change_and_its_undoing_leave_no_trace(
    white_balloon: WhiteBalloon, embedded: Embedded, change: Callable[[Scene], object]
) -> None:
    at = scene(white_balloon)
    embedded.catch_up()
    change(at)
    embedded.catch_up()
    undo(at)
    embedded.catch_up()
    assert embedded.drift() == []
    assert counts(embedded) == {(at.user, "elm"): 3}


@pytest.mark.parametrize(
    ("away", "back"),
    [
        (
            lambda at: at.wb.move(at.comment, request_id=at.wb.add_request("Sofa")),
            lambda at: at.wb.move(at.comment, request_id=at.request),
        ),
        (
            lambda at: at.wb.hard_delete(at.comment),
            lambda at: at.wb.comment(at.user, at.request, at=START, comment_id=at.comment),
        ),
    ],
    ids=["moved", "deleted"],
)
def test_a_comment_that_is_away_just_while_its_profile_begins_comes_into_it_later(
    white_balloon: WhiteBalloon,
    embedded: Embedded,
    monkeypatch: pytest.MonkeyPatch,
    away: Callable[[Scene], object],
    back: Callable[[Scene], object],
) -> None:
    """Its row is as it was remembered, but it was never published there."""
    at = scene(white_balloon)
    at.wb.leave(at.user, "elm")
    embedded.catch_up()
    read, calls = embedded.database.comments_of_users, count()

    def meanwhile(*place: Any) -> list[CommentRow]:  # noqa: ANN401 - handed on
        if next(calls):
            return read(*place)
        away(at)
        found = read(*place)
        back(at)
        return found

    monkeypatch.setattr(embedded.database, "comments_of_users", meanwhile)
    at.wb.join(at.user, "oak", "Elm St")
    embedded.catch_up()
    assert next(calls)
    assert embedded.drift() == []
    assert counts(embedded) == {(at.user, "oak"): 3}


def undo(at: Scene) -> None:
    """Bring back what `scene` made, whatever happened to it."""
    with suppress(IntegrityError):
        at.wb.add_user(user_id=at.user)
    at.wb.rename_request(at.request, "[Signal] Elm St")
    at.wb.join(at.user, "elm", "Elm St")
    at.wb.leave(at.user, "oak")
    for number in range(1, 40):
        at.wb.hard_delete(number)
    for number in (10, 20, 30):
        at.wb.comment(at.user, at.request, comment_id=number)

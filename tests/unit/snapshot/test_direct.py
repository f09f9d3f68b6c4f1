"""Snapshots straight from the database, for one user in a caller's session and for ranges of users."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool
from structlog.testing import capture_logs

from projections.database.database import Database, open_databases
from projections.whiteballoon import INSIGHTS, MAIN
from snapshot import direct
from snapshot.direct import (
    SeveralGroupsError,
    build_snapshot,
    build_snapshots,
    direct_snapshots,
    open_session,
)
from support.reference import reference_snapshots
from support.whiteballoon import WhiteBalloon, sqlite_url

EVERYBODY = (0, 2**63 - 1)
Rows = dict[str, dict[str, Any]]


@pytest.fixture
def balloon(tmp_path: Path) -> WhiteBalloon:
    return WhiteBalloon.in_folder(tmp_path)


@pytest.fixture
def session(balloon: WhiteBalloon) -> Iterator[Session]:
    with open_session(balloon.main, balloon.insights) as opened:
        yield opened


@pytest.fixture
def database(balloon: WhiteBalloon) -> Iterator[Database]:
    with open_databases(balloon.main_url, balloon.insights_url) as opened:
        yield opened


def elm(balloon: WhiteBalloon) -> tuple[int, int]:
    """A group with one member: its request and the member."""
    request, (user,) = balloon.add_group("elm", "Elm Street")
    return request, user


# ------------------------------------------------------------------------------------------------------- one session


def test_a_snapshot_says_what_the_rows_say(balloon: WhiteBalloon, session: Session) -> None:
    request, user = elm(balloon)
    body = "> https://quoted.org\nhttps://partiful.com/e/1\n[attachments: a.png]\n(Reactions: Ann 👍, Bob 👍)"
    comment = balloon.comment(user, request, body, datetime(2024, 5, 1, 12))  # noqa: DTZ001 - as stored
    balloon.analyse(comment, resource_tags=["housing"], tags="food, housing")
    balloon.comment(user, request, "hello", datetime(2024, 5, 2, 12, 0, 0, 250_000))  # noqa: DTZ001 - as stored
    balloon.soft_delete(balloon.comment(user, request, "https://deleted.org"))
    snapshot = build_snapshot(user, session)
    assert snapshot is not None
    assert snapshot.to_dict() == {
        "user_id": user,
        "group_slug": "elm",
        "message_count": 2,
        "first_seen_at": "2024-05-01T12:00:00",
        "last_seen_at": "2024-05-02T12:00:00.250000",
        "top_links": [{"url": "https://partiful.com/e/1", "domain": "partiful.com", "count": 1}],
        "top_tags": [{"label": "housing", "count": 1}, {"label": "food", "count": 1}],
        "reaction_counts": {"👍": 2},
        "attachment_counts": {"image": 1},
        "request_ids": [request],
    }


def test_in_several_groups_one_has_to_be_named(balloon: WhiteBalloon, session: Session) -> None:
    request, user = elm(balloon)
    balloon.comment(user, request, "hello")
    balloon.join(user, "oak", "Oak Lane")
    other = balloon.add_request("[Signal] Oak Lane")
    with pytest.raises(SeveralGroupsError, match="elm, oak") as caught:
        build_snapshot(user, session)
    assert isinstance(caught.value, ValueError)
    assert caught.value.slugs == ("elm", "oak")
    assert build_snapshot(user, session, "oak") is None
    balloon.comment(user, other, "hello too")
    session.rollback()
    assert [one.group_slug for one in build_snapshots(user, session)] == ["elm", "oak"]
    named = build_snapshot(user, session, "oak")
    assert named is not None
    assert named.request_ids == (other,)


def test_without_a_comment_a_group_or_a_user_there_is_none(balloon: WhiteBalloon, session: Session) -> None:
    request, user = elm(balloon)
    stranger = balloon.add_user()
    balloon.comment(stranger, request, "not in the group")
    balloon.soft_delete(balloon.comment(user, request, "deleted"))
    assert [build_snapshot(one, session) for one in (user, stranger, 999)] == [None] * 3
    assert [build_snapshots(one, session) for one in (user, stranger, 999)] == [[]] * 3
    assert build_snapshot(user, session, "oak") is None


def test_one_database_for_everything_needs_only_a_session_bound_to_it(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "all.db")
    balloon = WhiteBalloon(url, url)
    balloon.create()
    request, user = elm(balloon)
    balloon.analyse(balloon.comment(user, request), tags=["food"])
    with Session(balloon.main) as session:
        snapshot = build_snapshot(user, session)
    assert snapshot is not None
    assert [tag.label for tag in snapshot.top_tags] == ["food"]


def test_a_session_of_the_callers_needs_only_to_find_the_tables(balloon: WhiteBalloon) -> None:
    request, user = elm(balloon)
    balloon.analyse(balloon.comment(user, request), tags=["food"])
    with Session(create_engine("sqlite://")) as session:
        for table in MAIN.sorted_tables:
            session.bind_table(table, balloon.main)
        for table in INSIGHTS.sorted_tables:
            session.bind_table(table, balloon.insights)
        snapshot = build_snapshot(user, session)
    assert snapshot is not None
    assert [tag.label for tag in snapshot.top_tags] == ["food"]


def test_a_long_history_is_read_in_pages(
    balloon: WhiteBalloon, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, user = elm(balloon)
    for number in range(11):
        balloon.analyse(balloon.comment(user, request, f"https://{number % 3}.org/"), tags=["food"])
    expected = build_snapshot(user, session)
    monkeypatch.setattr(direct, "_SESSION_PAGE", 2)
    assert build_snapshot(user, session) == expected
    assert expected is not None
    assert expected.message_count == 11
    assert expected.top_tags[0].count == 11


def test_a_row_that_cannot_be_understood_is_said_and_left_out(balloon: WhiteBalloon, session: Session) -> None:
    request, user = elm(balloon)
    balloon.comment(user, request, "hello")
    broken = balloon.comment(user, request, "hello")
    with balloon.main.begin() as connection:
        connection.exec_driver_sql("UPDATE request_comments SET created_at = 'yesterday' WHERE id = ?", (broken,))
    with capture_logs() as logged:
        snapshot = build_snapshot(user, session)
    assert snapshot is not None
    assert snapshot.message_count == 1
    assert [f"comment {broken} of user {user}" in line["reason"] for line in logged] == [True]


def test_the_session_is_only_read_from(balloon: WhiteBalloon, tmp_path: Path) -> None:
    request, user = elm(balloon)
    balloon.comment(user, request, "hello")
    read_only = create_engine(f"sqlite:///file:{tmp_path / 'app.db'}?mode=ro&uri=true", poolclass=NullPool)
    with open_session(read_only, balloon.insights) as session:
        assert build_snapshot(user, session) is not None


# ------------------------------------------------------------------------------------------------------- many users


def test_all_users_at_once_are_each_user_alone(
    balloon: WhiteBalloon, session: Session, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, users = balloon.add_group("elm", "Elm Street", members=7)
    second, others = balloon.add_group("oak", "Oak Lane", members=2)
    balloon.join(users[3], "oak", "Oak Lane")
    for number in range(60):
        user = [*users[1:], *others, others[0]][number % 9]
        asked = second if user in others or number % 4 == 0 else request
        comment = balloon.comment(user, asked, f"https://{number % 7}.org/")
        if number % 3:
            balloon.analyse(comment, tags=[f"tag {number % 5}"])
    alone = [one for user in sorted({*users, *others}) for one in build_snapshots(user, session)]
    assert [one.group_slug for one in alone].count("oak") == 3

    for page in (3, 5_000):
        monkeypatch.setattr(direct, "PAGE", page)
        groups = database.groups()
        assert list(direct_snapshots(database, groups, *EVERYBODY)) == alone
        ranges = [(0, users[3]), (users[3] + 1, others[0]), (others[0] + 1, EVERYBODY[1])]
        assert [one for part in ranges for one in direct_snapshots(database, groups, *part)] == alone
        oak = direct_snapshots(database, groups.only("oak"), *EVERYBODY)
        assert list(oak) == [one for one in alone if one.group_slug == "oak"]


def test_the_oracles_rows_give_what_the_plainest_reading_gives(oracle_rows: Rows, oracle_databases: Path) -> None:
    main, insights = (sqlite_url(oracle_databases / name) for name in ("app.db", "comment_llm_insights.db"))
    expected = reference_snapshots(oracle_rows)
    with open_databases(main, insights) as database:
        found = {
            (one.user_id, one.group_slug): one.to_dict()
            for one in direct_snapshots(database, database.groups(), *EVERYBODY)
        }
    assert found == expected
    with open_session(create_engine(main, poolclass=NullPool), create_engine(insights, poolclass=NullPool)) as session:
        for user in sorted({user for user, _ in expected})[::40]:
            for one in build_snapshots(user, session):
                assert one.to_dict() == expected[user, one.group_slug]


def test_in_a_program_of_others_warnings_go_through_logging(
    balloon: WhiteBalloon, session: Session, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    request, user = elm(balloon)
    broken = balloon.comment(user, request, "hello")
    with balloon.main.begin() as connection:
        connection.exec_driver_sql("UPDATE request_comments SET created_at = 'yesterday' WHERE id = ?", (broken,))
    structlog.reset_defaults()
    assert build_snapshots(user, session) == []
    assert [(one.name, one.levelname) for one in caplog.records] == [("snapshot", "WARNING")]
    assert f"comment {broken} of user {user} is left out" in caplog.text
    assert capsys.readouterr() == ("", "")

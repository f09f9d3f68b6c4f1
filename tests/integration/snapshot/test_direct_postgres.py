"""Snapshots straight from PostgreSQL, by our own readers and by a session that WhiteBalloon might make."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from projections.database.database import open_databases
from snapshot.direct import build_snapshot, build_snapshots, direct_snapshots, open_session
from support.reference import reference_snapshots
from support.whiteballoon import WhiteBalloon

EVERYBODY = (0, 2**63 - 1)
Rows = dict[str, dict[str, Any]]


@pytest.fixture
def balloon(postgres_url: str) -> WhiteBalloon:
    made = WhiteBalloon(postgres_url, postgres_url)
    made.create()
    return made


@pytest.fixture
def session(balloon: WhiteBalloon) -> Iterator[Session]:
    with open_session(balloon.main, balloon.insights) as opened:
        yield opened


def in_vienna(url: str) -> Engine:
    options = {"options": "-c TimeZone=Europe/Vienna -c DateStyle=German"}
    return create_engine(make_url(url).update_query_dict(options), poolclass=NullPool)


def test_a_full_read_of_the_oracle_is_the_plainest_reading(balloon: WhiteBalloon, oracle_rows: Rows) -> None:
    balloon.load(oracle_rows)
    expected = reference_snapshots(oracle_rows)
    with open_databases(balloon.main_url, balloon.insights_url) as database:
        snapshots = list(direct_snapshots(database, database.groups(), *EVERYBODY))
    assert {(one.user_id, one.group_slug): one.to_dict() for one in snapshots} == expected
    with open_session(balloon.main, balloon.insights) as session:
        for user in sorted({user for user, _ in expected})[::50]:
            assert build_snapshots(user, session) == [one for one in snapshots if one.user_id == user]


def test_how_the_session_writes_its_dates_does_not_matter(balloon: WhiteBalloon, session: Session) -> None:
    request, (user,) = balloon.add_group("elm", "Elm Street")
    balloon.analyse(balloon.comment(user, request, "https://a.org/"), tags=["food"])
    here = build_snapshot(user, session)
    assert here is not None
    assert here.first_seen_at.isoformat() == "2024-06-01T09:00:01"
    with Session(in_vienna(balloon.main_url)) as elsewhere:
        assert build_snapshot(user, elsewhere) == here

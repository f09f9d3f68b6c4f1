"""`snapshot-admin populate`: the demo's community in PostgreSQL, which daemons wait for and then follow."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, Table, create_engine, func, select
from sqlalchemy.pool import NullPool

from consumer.commands.admin import demo_database
from projections.database.database import open_databases
from projections.whiteballoon import comment_llm_analyses, help_requests, request_comments, users
from support.commands import Started, environment, on, run
from support.whiteballoon import WhiteBalloon


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    made = create_engine(postgres_url, poolclass=NullPool)
    yield made
    made.dispose()


def count(engine: Engine, table: Table = request_comments) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def populate(url: str, comments: int) -> tuple[int, str]:
    words = ("snapshot-admin", "populate", "--url", url, "--interval", "0.05", "--comments", str(comments))
    ended = run(*words, env=environment())
    return ended.returncode, ended.stdout + ended.stderr


def test_the_community_is_made_once_and_goes_on_writing(postgres_url: str, engine: Engine) -> None:
    assert populate(postgres_url, 25) == (0, "the community is there\n25 comments written\n")
    assert count(engine) == 345
    assert populate(postgres_url, 5) == (0, "the community was there already\n5 comments written\n")
    assert count(engine) == 350
    assert count(engine, comment_llm_analyses) > 200
    with open_databases(postgres_url, postgres_url) as database:
        assert database.heads()[0] == 350
        assert database.groups().members.keys() == {*range(1, len(demo_database.PEOPLE) + 2)}
    with engine.begin() as connection:  # whoever goes on with these tables meets no id that is taken
        row = {"title": "More", "created_at": demo_database.START, "updated_at": demo_database.START}
        connection.execute(help_requests.insert().values(row))
        connection.execute(users.insert().values(is_admin=False, created_at=demo_database.START))


def test_tables_that_it_did_not_make_are_refused(postgres_url: str, engine: Engine) -> None:
    wb = WhiteBalloon(postgres_url, postgres_url)
    wb.create()
    wb.add_user("ann")
    code, said = populate(postgres_url, 1)
    assert (code, said.count("\n")) == (2, 1)
    assert "has tables that the demo did not make" in said
    assert (count(engine), count(engine, users)) == (0, 1)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:///app.db", "snapshot-admin demo"),
        ("nonsense", "not a database URL"),
        ("postgresql://wb:secret@127.0.0.1:1/wb", "can't be filled: connection failed"),
    ],
)
def test_what_it_can_not_write_to_is_said_in_one_line(url: str, words: str) -> None:
    code, said = populate(url, 1)
    assert (code, said.count("\n")) == (2, 1)
    assert words in said
    assert "secret" not in said


def test_a_consumer_waits_for_the_tables_alive_and_then_follows_them(postgres_url: str, tmp_path: Path) -> None:
    """As the relay does, by the same means."""
    env = on(tmp_path, tmp_path / "storage") | {"DATABASE_URL": postgres_url, "INSIGHTS_DATABASE_URL": postgres_url}
    alive = tmp_path / "alive"
    refused = run("snapshot-consumer", env=env)
    assert refused.returncode == 2
    assert "has none of WhiteBalloon's tables; start WhiteBalloon, which makes them" in refused.stderr
    words = ("snapshot-consumer", "--wait", "--alive-file", str(alive))
    with Started(*words, env=env, log=tmp_path / "log") as consumer:
        consumer.until(lambda: "waiting for a server" in consumer.said())
        consumer.until(alive.exists)
        assert populate(postgres_url, 1)[0] == 0
        place = tmp_path / "storage" / "signal_profiles" / "3-harvard-st-commons.json"
        consumer.until(place.exists)
        assert consumer.terminate(10) == 0, consumer.said()

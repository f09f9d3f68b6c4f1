import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from consumer.commands.admin import demo_database
from projections.comments.body import read
from projections.comments.events import CommentCreated, Event, InsightCreated
from projections.comments.rows import events
from projections.database.database import Database, open_databases
from projections.errors import OperatorError

NOW = datetime(2024, 8, 1)  # noqa: DTZ001 - WhiteBalloon's times are UTC without a zone


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with open_databases(*demo_database.create(tmp_path)) as opened:
        yield opened


def all_events(database: Database) -> list[Event]:
    analyses = {row.comment_id: row for row in database.analyses_after(0)}
    return list(events(database.comments_after(0), analyses, database.groups(), 1))


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    for folder, seed in (("one", 1), ("same", 1), ("other", 2)):
        demo_database.create(tmp_path / folder, seed)
    for file in (demo_database.MAIN_FILE, demo_database.INSIGHTS_FILE):
        assert dump(tmp_path / "one" / file) == dump(tmp_path / "same" / file)
        assert dump(tmp_path / "one" / file) != dump(tmp_path / "other" / file)


def test_it_has_something_of_everything(database: Database) -> None:
    found = all_events(database)
    comments = [event for event in found if isinstance(event, CommentCreated)]
    live = [event for event in comments if event.deleted_at is None]
    assert 0 < len(comments) - len(live) < 10
    profiles = Counter((event.user_id, event.group_slug) for event in live)
    slugs = Counter(slug for _, slug in profiles)
    assert slugs == {"harvard-st-commons": 12, "elm-garden": 3}
    assert max(Counter(user for user, _ in profiles).values()) == 2
    assert len(database.comments_after(0)) > len(comments)  # what the visitor wrote counts nowhere
    meanings = [read(event.body) for event in live]
    assert len({url for meaning in meanings for url, *_ in meaning.links}) > 5
    assert {kind for meaning in meanings for kind, _ in meaning.attachments} >= {"image", "video", "audio", "document"}
    assert any(meaning.reactions for meaning in meanings)
    assert any(event.body.startswith("> ") for event in live)
    insights = [event for event in found if isinstance(event, InsightCreated)]
    assert any(event.resource_tags for event in insights)
    assert any(len(event.tags) > 1 for event in insights)


def test_making_it_again_replaces_it(tmp_path: Path, database: Database) -> None:
    before = database.heads()
    demo_database.add_comment(tmp_path, 1, "more", NOW)
    demo_database.create(tmp_path)
    assert database.heads() == before


def test_a_comment_is_added_with_its_tags(tmp_path: Path, database: Database) -> None:
    before = database.change_token()
    comment = demo_database.add_comment(tmp_path, 1, "https://example.org/new", NOW, ["street"])
    assert database.change_token() != before
    created, insight = (event for event in all_events(database) if event.comment_id == comment)
    assert isinstance(created, CommentCreated)
    assert (created.user_id, created.body, created.created_at) == (1, "https://example.org/new", NOW)
    assert isinstance(insight, InsightCreated)
    assert insight.tags == ("street",)


def test_what_cannot_be_written_is_named_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / demo_database.MAIN_FILE).mkdir()
    with pytest.raises(OperatorError, match=r"app\.db can.t be written \(unable to open database file\); .*--folder"):
        demo_database.add_comment(tmp_path, 3, "hello", NOW)

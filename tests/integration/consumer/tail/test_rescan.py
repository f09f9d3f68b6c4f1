"""What was blocked is judged again, without a restart, once a rebuild or a restored database may have settled it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from consumer.tail.state import TailState, decode
from projections.database.database import Database, open_databases
from projections.projection import Projection
from projections.store.memory import MemoryStore
from projections.watermark import TAIL
from snapshot.processes.spawn import Inline
from snapshot.rebuild.rebuild import Order, Rebuild
from snapshot.rebuild.tasks import RebuildContext
from snapshot.reconcile.reconcile import Scope
from snapshot.runtime.progress import NoProgress
from support.relaying import Running, Topics
from support.tailing import Embedded, microseconds
from support.whiteballoon import START, WhiteBalloon, execute

Disappearance = Callable[[WhiteBalloon], object]


@pytest.fixture
def white_balloon(tmp_path: Path) -> WhiteBalloon:
    """A group of ten with five comments each."""
    made = WhiteBalloon.in_folder(tmp_path / "wb")
    request, users = made.add_group("elm", "Elm St", members=10)
    for user in users:
        for _ in range(5):
            made.comment(user, request)
    return made


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(microseconds)


@pytest.fixture
def database(white_balloon: WhiteBalloon) -> Iterator[Database]:
    with open_databases(white_balloon.main_url, white_balloon.insights_url) as opened:
        yield opened


def comments_go(white_balloon: WhiteBalloon) -> None:
    execute(white_balloon.main_url, "DELETE FROM request_comments WHERE id <= 30")


def comments_come_back(white_balloon: WhiteBalloon) -> None:
    white_balloon.comments(
        [
            {"id": number, "user_id": (number + 4) // 5, "help_request_id": 1, "body": "back", "created_at": START}
            for number in range(1, 31)
        ]
    )


def memberships_go(white_balloon: WhiteBalloon) -> None:
    execute(white_balloon.main_url, "DELETE FROM user_attributes")


def rebuild(store: MemoryStore, database: Database, *, prune_all: bool) -> None:
    work = RebuildContext(Projection(store), database, Scope(), None)
    Rebuild(work, Inline(work), Order(None, prune_all=prune_all, lag_seconds=0), NoProgress()).run()


def state(store: MemoryStore) -> TailState:
    document = store.document(TAIL)
    assert document is not None
    return decode(document)


@pytest.mark.parametrize("disappear", [comments_go, memberships_go])
@pytest.mark.parametrize("where", ["while it runs", "before its start"])
def test_a_rebuild_that_confirms_it_removes_what_a_running_tail_blocks(
    white_balloon: WhiteBalloon, store: MemoryStore, database: Database, disappear: Disappearance, where: str
) -> None:
    tail = Embedded(white_balloon, store)
    tail.catch_up()
    if where == "before its start":
        tail.close()
        tail = Embedded(white_balloon, store)
    disappear(white_balloon)
    with capture_logs() as said:
        tail.catch_up()
    assert any("blocked by the deletion guard" in line["event"] for line in said)
    rebuild(store, database, prune_all=False)  # the deletion guard blocks it too
    since = database.clock()
    tail.catch_up()
    assert state(store).swept_until < since
    rebuild(store, database, prune_all=True)
    tail.until(lambda: state(store).swept_until > since)
    assert tail.drift() == []
    white_balloon.soft_delete(40)
    tail.catch_up()
    assert tail.drift() == []
    tail.close()


def test_a_running_relay_goes_on_too(white_balloon: WhiteBalloon, database: Database) -> None:
    topics = Topics()
    store = topics.projection.store
    assert isinstance(store, MemoryStore)
    running = Running(white_balloon, topics)
    running.catch_up()
    comments_go(white_balloon)
    running.catch_up()
    since = database.clock()
    rebuild(store, database, prune_all=True)
    published = len(topics.log)

    def passed() -> bool:
        topics.consume()
        return state(store).swept_until > since

    running.until(passed)
    assert topics.log[published:] == []
    white_balloon.edit(40, "https://example.org/edited")
    running.catch_up()
    assert running.drift() == []
    running.close()


def test_what_a_start_holds_is_over_when_the_database_is_restored(
    white_balloon: WhiteBalloon, store: MemoryStore, database: Database
) -> None:
    tail = Embedded(white_balloon, store)
    tail.catch_up()
    tail.close()
    comments_go(white_balloon)
    tail = Embedded(white_balloon, store)
    tail.catch_up()
    since = database.clock()
    comments_come_back(white_balloon)
    tail.until(lambda: state(store).swept_until > since)
    assert tail.drift() == []
    tail.close()


def test_a_run_beside_a_tail_that_blocks_something_comes_to_its_end(
    white_balloon: WhiteBalloon, store: MemoryStore
) -> None:
    tail, run = Embedded(white_balloon, store), Embedded(white_balloon, store)
    tail.catch_up()
    memberships_go(white_balloon)
    tail.catch_up()

    def ended() -> bool:
        tail.step()
        return run.loop.finish()

    run.until(ended)
    run.close()
    tail.close()


def test_a_tail_makes_no_progress_of_its_own_once_it_has_caught_up(
    white_balloon: WhiteBalloon, store: MemoryStore
) -> None:
    tail = Embedded(white_balloon, store)
    tail.catch_up()
    before = tail.source.progress
    white_balloon.edit(1, "https://example.org/edited")
    for _ in range(30):
        tail.step()
        tail.loop.caught_up()
    assert tail.source.progress == before
    tail.close()

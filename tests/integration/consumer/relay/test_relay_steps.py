"""The relay in process: what is published, what a successor begins with, what goes wrong."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from consumer.relay.lookup import Lookup
from consumer.tail.state import decode
from projections.comments.events import MAX_CLOCK_SKEW, CommentCreated, Event, InsightCreated
from projections.store.memory import MemoryStore
from projections.store.protocol import StoreUnavailableError
from projections.watermark import TAIL
from snapshot.kafka.messages import DeliveryError, TooLargeError
from support.flushing import Interrupted
from support.relaying import Running, Topics
from support.tailing import QUICK, microseconds
from support.whiteballoon import WhiteBalloon


@pytest.fixture
def white_balloon(tmp_path: Path) -> WhiteBalloon:
    return WhiteBalloon.in_folder(tmp_path / "wb")


@pytest.fixture
def elm(white_balloon: WhiteBalloon) -> tuple[int, list[int]]:
    """A request and three members; thirty comments, some with an analysis."""
    request, users = white_balloon.add_group("elm", "Elm St", members=3)
    for number in range(30):
        comment = white_balloon.comment(users[number % 3], request, f"https://example.org/{number}")
        if number % 4 == 0:
            white_balloon.analyse(comment, tags=["a"])
    return request, users


def ids(events: Sequence[Event]) -> list[int]:
    return sorted(event.comment_id for event in events if isinstance(event, CommentCreated))


def test_the_first_start_publishes_the_history_once_user_by_user(
    white_balloon: WhiteBalloon, elm: tuple[int, list[int]]
) -> None:
    topics = Topics()
    running = Running(white_balloon, topics)
    running.catch_up()
    assert ids(topics.log) == list(range(1, 31))
    assert sum(isinstance(event, InsightCreated) for event in topics.log) == 8
    assert [event.user_id for event in topics.log if isinstance(event, CommentCreated)] == sorted(elm[1] * 10)
    assert running.drift() == []
    running.close()


def test_an_outage_of_the_store_ends_with_a_write_though_reads_are_answered(
    white_balloon: WhiteBalloon, elm: tuple[int, list[int]]
) -> None:
    refused = set[str]()

    def act(name: str, _when: str) -> None:
        if name in refused:
            raise StoreUnavailableError("no space left")

    down = "the store is unreachable; nothing is published meanwhile"
    topics = Topics(Interrupted(MemoryStore(microseconds), act))
    running = Running(white_balloon, topics)
    running.catch_up()
    before = len(topics.log)
    with capture_logs() as lines:
        refused.add("put_document")
        running.until(lambda: any(line["event"] == down for line in lines))
        refused.add("lease")
        white_balloon.comment(elm[1][0], elm[0], "meanwhile")
        for _ in range(5):
            running.relay.step(0.05)
        assert running.relay.unavailable
        assert running.relay.trouble == "no space left"
        assert [line["event"] for line in lines if line["event"].startswith("recovered")] == []
        assert len(topics.log) == before
        refused.clear()
        running.catch_up()
        assert [line["event"] for line in lines if line["event"].startswith("recovered")] == [f"recovered: {down}"]
    assert len(topics.log) == before + 1
    running.close()


def test_a_second_start_publishes_nothing_that_consumers_have(
    white_balloon: WhiteBalloon, elm: tuple[int, list[int]]
) -> None:
    assert elm
    topics = Topics()
    first = Running(white_balloon, topics)
    first.catch_up()
    first.close()
    before = len(topics.log)
    second = Running(white_balloon, topics)
    second.catch_up()
    assert len(topics.log) == before
    second.close()


def test_backfill_publishes_everything_again(white_balloon: WhiteBalloon, elm: tuple[int, list[int]]) -> None:
    assert elm
    topics = Topics()
    first = Running(white_balloon, topics)
    first.catch_up()
    first.close()
    topics.log.clear()
    second = Running(white_balloon, topics, backfill=True)
    second.catch_up()
    assert ids(topics.log) == list(range(1, 31))
    second.close()


def test_a_killed_backfill_goes_on_after_the_last_user_that_was_acknowledged(
    white_balloon: WhiteBalloon, monkeypatch: pytest.MonkeyPatch, elm: tuple[int, list[int]]
) -> None:
    monkeypatch.setattr("consumer.tail.startup.backfill._PAGE", 5)
    monkeypatch.setattr("consumer.relay.relay._SAVE_SECONDS", 0.0)
    _, users = elm
    topics = Topics()
    first = Running(white_balloon, topics)
    first.until(lambda: len(ids(topics.log)) >= 15)  # half of the second user's
    first.vanish()
    before = len(topics.log)
    second = Running(white_balloon, topics)
    second.until(lambda: set(ids(topics.log)) == set(range(1, 31)))
    assert users[0] not in {event.user_id for event in topics.log[before:]}
    second.catch_up()
    assert second.drift() == []
    second.close()


class Progress:
    """What a bar would show."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.done = 0

    def phase(self, _name: str, total: int | None) -> None:
        self.total = total

    def advance(self, by: int = 1) -> None:
        self.done += by


def test_a_backfill_tells_how_far_it_is_after_it_was_killed_too(
    white_balloon: WhiteBalloon, monkeypatch: pytest.MonkeyPatch, elm: tuple[int, list[int]]
) -> None:
    assert elm
    monkeypatch.setattr("consumer.tail.startup.backfill._PAGE", 5)
    monkeypatch.setattr("consumer.relay.relay._SAVE_SECONDS", 0.0)
    topics, progress, again = Topics(), Progress(), Progress()
    first = Running(white_balloon, topics, progress=progress)
    first.until(lambda: len(ids(topics.log)) >= 15)
    first.vanish()
    assert (progress.done, progress.total) == (15, 30)
    second = Running(white_balloon, topics, progress=again)
    second.catch_up()
    assert (again.done, again.total) == (20, 20)
    second.close()


def test_what_is_committed_during_the_backfill_is_published_after_it(
    white_balloon: WhiteBalloon, monkeypatch: pytest.MonkeyPatch, elm: tuple[int, list[int]]
) -> None:
    monkeypatch.setattr("consumer.tail.startup.backfill._PAGE", 5)
    request, users = elm
    topics = Topics()
    running = Running(white_balloon, topics)
    running.until(lambda: len(ids(topics.log)) >= 12)
    new = white_balloon.comment(users[0], request)
    white_balloon.move(3, user_id=users[0])  # from a user who was not read yet to one who was
    white_balloon.hard_delete(1)
    running.catch_up()
    assert new in ids(topics.log)
    assert running.drift() == []
    running.close()


def test_a_comment_that_comes_during_the_backfill_is_published_once(
    white_balloon: WhiteBalloon, monkeypatch: pytest.MonkeyPatch, elm: tuple[int, list[int]]
) -> None:
    monkeypatch.setattr("consumer.tail.startup.backfill._PAGE", 5)
    request, users = elm
    topics = Topics()
    running = Running(white_balloon, topics)
    running.until(lambda: len(ids(topics.log)) >= 12)
    new = white_balloon.comment(users[2], request)  # of a user whom the backfill has not come to
    running.catch_up()
    assert ids(topics.log) == [*range(1, 31), new]
    running.close()


def test_a_relay_that_died_before_its_first_turn_is_succeeded_without_a_repetition(
    white_balloon: WhiteBalloon, monkeypatch: pytest.MonkeyPatch, elm: tuple[int, list[int]]
) -> None:
    request, users = elm
    topics = Topics()
    first = Running(white_balloon, topics)
    with monkeypatch.context() as patched:
        patched.setattr("consumer.tail.tail.Tail.turn", lambda _: pytest.exit("killed"))
        with pytest.raises(pytest.exit.Exception):
            first.relay.step(0.0)
    first.vanish()
    new = white_balloon.comment(users[0], request)
    second = Running(white_balloon, topics)
    second.catch_up()
    assert ids(topics.log) == [*range(1, 31), new]
    assert second.drift() == []
    second.close()


def test_events_that_are_not_acknowledged_are_sent_again(
    white_balloon: WhiteBalloon, elm: tuple[int, list[int]]
) -> None:
    request, users = elm
    topics = Topics()
    running = Running(white_balloon, topics)
    running.catch_up()
    topics.refuses = lambda _events: DeliveryError("away")
    new = white_balloon.comment(users[0], request)
    with capture_logs() as said:
        for _ in range(5):
            running.relay.step(0.01)
    assert [line["event"] for line in said] == ["Kafka doesn't take the events; trying again"]
    topics.refuses = lambda _events: None
    running.catch_up()
    assert new in ids(topics.log)
    assert running.drift() == []
    running.close()


def test_a_comment_that_kafka_never_takes_does_not_hold_up_the_others(
    white_balloon: WhiteBalloon, elm: tuple[int, list[int]]
) -> None:
    assert elm
    topics = Topics()
    too_large = TooLargeError("too large")
    topics.refuses = lambda events: too_large if any(event.comment_id == 7 for event in events) else None
    running = Running(white_balloon, topics)
    with capture_logs() as said:
        running.catch_up()
    assert ids(topics.log) == [number for number in range(1, 31) if number != 7]
    # Named again whenever the store is compared, until a rebuild has brought it there.
    assert {line["comment_id"] for line in said if line["log_level"] == "error"} == {7}
    running.close()


def test_a_successor_s_revisions_are_above_all_that_were_published(
    white_balloon: WhiteBalloon, elm: tuple[int, list[int]]
) -> None:
    request, users = elm
    topics = Topics()
    first = Running(white_balloon, topics)
    first.catch_up()
    white_balloon.comment(users[0], request)
    first.until(lambda: 31 in ids(topics.log))
    first.vanish()
    highest = max(event.revision for event in topics.log)
    document = topics.projection.store.document(TAIL)
    assert document is not None
    assert decode(document).ceiling >= highest
    before = len(topics.log)
    white_balloon.comment(users[0], request)
    second = Running(white_balloon, topics)
    second.until(lambda: 32 in ids(topics.log))
    assert min(event.revision for event in topics.log[before:]) > highest
    second.close()


def test_two_relays_one_works_and_the_other_takes_over(white_balloon: WhiteBalloon, elm: tuple[int, list[int]]) -> None:
    request, users = elm
    topics = Topics()
    first, second = Running(white_balloon, topics), Running(white_balloon, topics)
    first.catch_up()
    assert second.relay.step(0.01) == 0
    first.close()
    white_balloon.comment(users[0], request)
    second.catch_up()
    assert ids(topics.log) == list(range(1, 32))
    second.close()


def test_a_zombie_does_no_harm(white_balloon: WhiteBalloon, elm: tuple[int, list[int]]) -> None:
    request, users = elm
    topics = Topics()
    zombie = Running(white_balloon, topics)
    zombie.catch_up()
    successor = Running(white_balloon, topics)  # nobody steps the first for as long as its lease lasts
    successor.until(lambda: bool(successor.relay._leased.working))  # noqa: SLF001
    successor.catch_up()
    document = topics.projection.store.document(TAIL)
    white_balloon.comment(users[0], request)
    for _ in range(3):
        zombie.relay.step(0.01)
    assert topics.projection.store.document(TAIL) == document
    successor.catch_up()
    assert successor.drift() == []
    zombie.close()
    successor.close()


def test_what_only_the_store_can_tell_waits_for_the_consumers(
    white_balloon: WhiteBalloon, elm: tuple[int, list[int]]
) -> None:
    assert elm
    topics = Topics()
    first = Running(white_balloon, topics)
    first.catch_up(consume=False)
    first.close()
    white_balloon.hard_delete(5)
    second = Running(white_balloon, topics)
    for _ in range(30):
        second.relay.step(0.05)
    assert len(ids(topics.log)) == 30
    second.catch_up()
    assert [event.comment_id for event in topics.log[38:] if isinstance(event, CommentCreated) and event.gone] == [5]
    second.topics.consume()
    assert second.drift() == []
    second.close()


def test_what_needs_no_consumers_is_published_while_kafka_does_not_tell_how_far_they_are(
    white_balloon: WhiteBalloon, elm: tuple[int, list[int]]
) -> None:
    """A broker that is paused answers no question; what waits for the answer must not hold up the rest."""
    request, users = elm
    topics = Topics()
    first = Running(white_balloon, topics)
    first.catch_up()
    first.close()
    published, go_on = len(topics.log), threading.Event()

    def ends() -> Mapping[str, int]:
        assert go_on.wait(60)
        return topics.ends

    second = Running(white_balloon, topics, ends=Lookup(ends))
    for _ in range(10):
        second.relay.step(0.01)  # remembers all rows, and waits for the answer
    new = white_balloon.comment(users[0], request)
    white_balloon.edit(7, "https://example.org/edited")
    for _ in range(40):
        second.relay.step(0.05)
    assert [event.comment_id for event in topics.log[published:]] == [new, 7]
    assert not second.relay.caught_up()
    go_on.set()
    second.catch_up()
    assert second.drift() == []
    second.close()


def test_stalled_consumers_are_not_waited_for_for_ever(white_balloon: WhiteBalloon, elm: tuple[int, list[int]]) -> None:
    assert elm
    topics = Topics()
    first = Running(white_balloon, topics)
    first.catch_up(consume=False)
    first.close()
    document = topics.projection.store.document(TAIL)
    assert document is not None
    second = Running(white_balloon, topics, timeout=0.5)
    with capture_logs() as said:
        second.catch_up(consume=False)
    assert any("are stalled" in line["event"] for line in said)
    second.close()
    after = topics.projection.store.document(TAIL)
    assert after is not None
    assert decode(after).swept_until == decode(document).swept_until


HOUR = 3_600_000_000


def test_a_clock_that_was_ahead_while_nothing_happened_holds_nothing_up(
    white_balloon: WhiteBalloon, elm: tuple[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    request, users = elm
    topics = Topics()
    running = Running(white_balloon, topics)
    running.catch_up()
    with monkeypatch.context() as patch:
        year = 365 * 86_400 * 1_000_000
        patch.setattr(running.database, "_host_clock", lambda: microseconds() + year)
        for _ in range(10):
            running.relay.step(0.05)
    new = white_balloon.comment(users[0], request)
    for _ in range(100):
        running.relay.step(0.05)
    assert new in ids(topics.log)
    assert max(event.revision for event in topics.log) < microseconds() + MAX_CLOCK_SKEW
    running.vanish()


def test_while_the_database_s_clock_is_far_ahead_nothing_is_published_and_nothing_lost(
    white_balloon: WhiteBalloon, elm: tuple[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    request, users = elm
    topics = Topics()
    running = Running(white_balloon, topics)
    running.catch_up()
    before = len(topics.log)
    with monkeypatch.context() as patch, capture_logs() as said:
        patch.setattr(running.database, "_host_clock", lambda: microseconds() + HOUR)
        new = white_balloon.comment(users[0], request)
        white_balloon.hard_delete(5)
        for _ in range(30):
            running.relay.step(0.01)
    assert len(topics.log) == before
    assert " s ahead of this machine" in next(
        line["reason"] for line in said if "consumers would refuse" in line["event"]
    )
    running.catch_up()
    assert new in ids(topics.log)
    assert max(event.revision for event in topics.log) < microseconds() + MAX_CLOCK_SKEW
    assert running.drift() == []
    running.close()


def test_a_register_that_is_ahead_of_the_clock_is_left_to_a_rebuild(
    white_balloon: WhiteBalloon, elm: tuple[int, list[int]]
) -> None:
    request, users = elm
    topics = Topics()
    first = Running(white_balloon, topics)
    first.catch_up()
    first.close()
    (event,) = (one for one in topics.log if one.comment_id == 2)
    topics.projection.apply([msgspec.structs.replace(event, body="other", revision=event.revision * 1_000)], {})
    second = Running(white_balloon, topics)
    with capture_logs() as said:
        second.catch_up()
    assert [line["comment_id"] for line in said if "ahead of the clock" in line["event"]] == [2]
    new = white_balloon.comment(users[0], request)
    second.catch_up()
    assert new in ids(topics.log)
    assert max(event.revision for event in topics.log) < microseconds() + MAX_CLOCK_SKEW
    second.close()


def test_the_watermark_moves_while_nothing_happens(white_balloon: WhiteBalloon, elm: tuple[int, list[int]]) -> None:
    assert elm
    topics = Topics()
    running = Running(white_balloon, topics, QUICK)
    running.catch_up()
    asked = running.database.clock()

    def passed() -> bool:
        document = topics.projection.store.document(TAIL)
        assert document is not None
        state = decode(document)
        return min(state.polled_until, state.swept_until) > asked and state.positions == topics.ends

    running.until(passed)
    running.close()


def test_positions_in_recreated_topics_are_forgotten_and_not_waited_for(
    white_balloon: WhiteBalloon, elm: tuple[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else consumers never get there, and no rebuild could ever tell drift from lag."""
    assert elm
    monkeypatch.setattr("consumer.relay.consumer_progress._STALLED_SECONDS", 0.5)
    topics = Topics()
    store = topics.projection.store
    first = Running(white_balloon, topics)
    first.catch_up()
    first.close()
    before, topics.log[:] = list(topics.log), [*topics.log, *topics.log]  # consumers have only half of it
    second = Running(white_balloon, topics)
    with capture_logs() as said:
        second.until(lambda: any("waiting for the consumers" in line["event"] for line in said))
    topics.log[:] = before  # recreated, with less in it
    second.catch_up(consume=False)
    document = store.document(TAIL)
    assert document is not None
    assert decode(document).positions == topics.ends
    second.close()

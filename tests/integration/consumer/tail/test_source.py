"""`DatabaseTail`: who tails, what is delivered again, what is blocked, what stands in its way."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from sqlalchemy import make_url
from structlog.testing import capture_logs

from consumer.tail.state import decode
from projections.comments.events import CommentCreated
from projections.database.database import DatabaseUnavailableError, Horizon
from projections.profile_key import ProfileKey
from projections.store.memory import MemoryStore
from projections.store.protocol import StoreUnavailableError
from projections.watermark import TAIL
from projections.whiteballoon import comment_llm_analyses, request_comments
from snapshot.build import build
from support.tailing import QUICK, Embedded, microseconds
from support.whiteballoon import START, WhiteBalloon, execute

POLLS_ONLY = msgspec.structs.replace(QUICK, sweep_interval=1e9)


@pytest.fixture
def white_balloon(tmp_path: Path) -> WhiteBalloon:
    return WhiteBalloon.in_folder(tmp_path / "wb")


@pytest.fixture
def embedded(white_balloon: WhiteBalloon) -> Iterator[Embedded]:
    made = Embedded(white_balloon)
    yield made
    made.close()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(microseconds)


def live(embedded: Embedded, user: int, slug: str = "elm") -> int:
    """How many comments count."""
    key = ProfileKey(user, slug)
    head = embedded.projection.read_current([key])[key].head
    return 0 if head is None else head.count


# ------------------------------------------------------------------------------------------------------- who tails


def test_the_second_waits_with_nothing_and_takes_over(white_balloon: WhiteBalloon, store: MemoryStore) -> None:
    request, (user,) = white_balloon.add_group("elm", "Elm St")
    first, second = Embedded(white_balloon, store), Embedded(white_balloon, store)
    first.catch_up()
    second.step()
    assert second.source.assignment().generation == 1
    assert not second.source.assignment().partitions
    white_balloon.comment(user, request)
    second.until(lambda: bool(second.source.assignment().partitions))  # the first is not stepped: it is dead
    second.catch_up()
    assert live(second, user) == 1
    first.close()
    second.close()


def test_one_that_waits_is_caught_up_when_the_other_is(white_balloon: WhiteBalloon, store: MemoryStore) -> None:
    request, (user,) = white_balloon.add_group("elm", "Elm St")
    first, second = Embedded(white_balloon, store), Embedded(white_balloon, store)
    first.catch_up()
    white_balloon.comment(user, request)
    second.step()
    assert not second.loop.caught_up()

    def both() -> bool:
        first.step()
        return second.loop.caught_up()

    second.until(both)
    assert live(second, user) == 1
    first.close()
    second.close()


def test_a_paused_process_that_lost_the_lease_writes_nothing(white_balloon: WhiteBalloon, store: MemoryStore) -> None:
    request, (user,) = white_balloon.add_group("elm", "Elm St")
    zombie, successor = Embedded(white_balloon, store), Embedded(white_balloon, store)
    zombie.catch_up()
    white_balloon.comment(user, request)
    successor.until(lambda: bool(successor.source.assignment().partitions))
    successor.catch_up()
    document = store.document(TAIL)
    zombie.source.commit({"tail/0": 2**53})
    assert store.document(TAIL) == document
    zombie.step()
    assert not zombie.source.assignment().partitions
    zombie.close()
    successor.close()


# ------------------------------------------------------------------------------------------------- delivered again


def test_what_was_not_applied_is_delivered_again_after_a_start(white_balloon: WhiteBalloon, embedded: Embedded) -> None:
    request, (user,) = white_balloon.add_group("elm", "Elm St")
    embedded.catch_up()
    comment = white_balloon.comment(user, request)
    source = embedded.source
    batches = [source.poll(0.1)]
    while not any(batch.events for batch in batches):
        batches.append(source.poll(0.1))
    start = batches[-1].intervals["tail/0"][0]
    source.start(source.assignment().generation, {"tail/0": start})
    again = source.poll(0.1)
    assert again.events == batches[-1].events
    assert again.intervals == batches[-1].intervals
    assert [event.comment_id for event in again.events] == [comment]


def test_a_store_that_was_away_gets_all_of_it(
    white_balloon: WhiteBalloon, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, (user,) = white_balloon.add_group("elm", "Elm St")
    embedded = Embedded(white_balloon, store)
    embedded.catch_up()

    def away(*_: object, **__: object) -> Any:  # noqa: ANN401  in place of methods of several types
        raise StoreUnavailableError("away")

    with monkeypatch.context() as patched:
        for method in ("save", "load", "lease", "put_document", "bucket_states"):
            patched.setattr(store, method, away)
        for _ in range(10):
            white_balloon.comment(user, request)
            embedded.step()
    embedded.catch_up()
    assert live(embedded, user) == 10
    embedded.close()


def test_a_store_that_was_emptied_is_filled_again(white_balloon: WhiteBalloon) -> None:
    request, (user,) = white_balloon.add_group("elm", "Elm St")
    white_balloon.comment(user, request)
    first = Embedded(white_balloon)
    first.catch_up()
    first.close()
    second = Embedded(white_balloon)
    second.catch_up()
    assert live(second, user) == 1
    second.close()


def test_numbers_are_never_given_out_twice(white_balloon: WhiteBalloon, store: MemoryStore) -> None:
    request, (user,) = white_balloon.add_group("elm", "Elm St")
    seen = -1
    for _ in range(3):
        embedded = Embedded(white_balloon, store)  # the one before just vanished
        embedded.catch_up()
        white_balloon.comment(user, request)
        ends: list[int] = []
        while True:
            batch = embedded.source.poll(0.05)
            ends += [end for _, end in batch.intervals.values()]
            if batch.events:
                break
        assert min(ends) > seen
        seen = max(ends)


# ------------------------------------------------------------------------------------------------ found by polling


def test_polling_alone_finds_what_has_a_key_or_is_small(white_balloon: WhiteBalloon, store: MemoryStore) -> None:
    request, users = white_balloon.add_group("elm", "Elm St", members=3)
    comments = [white_balloon.comment(user, request) for user in users for _ in range(3)]
    embedded = Embedded(white_balloon, store, POLLS_ONLY)
    embedded.catch_up()
    white_balloon.comment(users[0], request)
    white_balloon.analyse(comments[-1], tags=["by key"])
    embedded.until(lambda: not embedded.drift())
    white_balloon.analyse(comments[0], tags=["by its run"], run_id="run-7")
    embedded.until(lambda: not embedded.drift())
    white_balloon.analyse(comments[1], tags=["by its run again"], run_id="run-7")
    embedded.until(lambda: not embedded.drift())
    white_balloon.leave(users[1], "elm")
    white_balloon.join(users[2], "oak", "Elm St")
    embedded.until(lambda: not embedded.drift())
    white_balloon.rename_request(request, "Sofa")
    embedded.until(lambda: not embedded.drift())
    assert live(embedded, users[0]) == 0
    embedded.close()


def test_an_id_that_is_used_again_is_another_comment(white_balloon: WhiteBalloon, store: MemoryStore) -> None:
    request, (one, other) = white_balloon.add_group("elm", "Elm St", members=2)
    white_balloon.comment(one, request)
    last = white_balloon.comment(one, request)
    embedded = Embedded(white_balloon, store)
    embedded.catch_up()
    white_balloon.hard_delete(last)
    assert white_balloon.comment(other, request) == last
    embedded.catch_up()
    assert (live(embedded, one), live(embedded, other)) == (1, 1)
    assert embedded.drift() == []
    embedded.close()


def test_polling_finds_an_id_that_is_used_again(white_balloon: WhiteBalloon, store: MemoryStore) -> None:
    request, (one, other) = white_balloon.add_group("elm", "Elm St", members=2)
    white_balloon.comment(one, request)
    last = white_balloon.comment(one, request)
    embedded = Embedded(white_balloon, store, POLLS_ONLY)
    embedded.catch_up()
    white_balloon.hard_delete(last)
    embedded.until(lambda: state(embedded).comment_head == last - 1)
    assert white_balloon.comment(other, request) == last
    embedded.until(lambda: embedded.drift() == [])
    assert (live(embedded, one), live(embedded, other)) == (1, 1)
    embedded.close()


def test_a_comment_that_comes_back_has_no_tags_of_an_analysis_that_went_meanwhile(
    white_balloon: WhiteBalloon, embedded: Embedded
) -> None:
    request, (user,) = white_balloon.add_group("elm", "Elm St")
    comment = white_balloon.comment(user, request)
    white_balloon.analyse(comment, tags=["a"])
    embedded.catch_up()
    white_balloon.leave(user, "elm")
    embedded.catch_up()
    white_balloon.remove_analysis(comment)
    embedded.catch_up()
    white_balloon.join(user, "elm", "Elm St")
    embedded.catch_up()
    assert live(embedded, user) == 1
    assert embedded.drift() == []


def test_a_move_and_the_end_of_the_membership_at_once_leave_nothing_behind(
    white_balloon: WhiteBalloon, embedded: Embedded
) -> None:
    request, (user,) = white_balloon.add_group("elm", "Elm St")
    sofa = white_balloon.add_request("Sofa")
    comments = [white_balloon.comment(user, request) for _ in range(3)]
    embedded.catch_up()
    for comment in comments:
        white_balloon.move(comment, request_id=sofa)
    white_balloon.leave(user, "elm")
    embedded.catch_up()
    assert live(embedded, user) == 0
    assert embedded.drift() == []


def test_a_row_that_cannot_be_read_is_left_out_until_it_is_fixed(
    white_balloon: WhiteBalloon, embedded: Embedded
) -> None:
    request, (user,) = white_balloon.add_group("elm", "Elm St")
    white_balloon.comment(user, request)
    comment = white_balloon.comment(user, request)
    embedded.catch_up()

    def created_at(text: str) -> None:
        with sqlite3.connect(make_url(white_balloon.main_url).database or "") as connection:
            connection.execute("UPDATE request_comments SET created_at = ? WHERE id = ?", (text, comment))
        connection.close()

    created_at("yesterday")
    embedded.catch_up()
    assert live(embedded, user) == 1
    created_at("2024-06-01 09:00:00")
    embedded.catch_up()
    assert live(embedded, user) == 2
    assert embedded.drift() == []


# ---------------------------------------------------------------------------------------------the deletion guard


def crowd(white_balloon: WhiteBalloon) -> tuple[int, list[int]]:
    request, users = white_balloon.add_group("elm", "Elm St", members=10)
    for user in users:
        for _ in range(5):
            white_balloon.analyse(white_balloon.comment(user, request), tags=["a"])
    return request, users


def held(said: list[Any]) -> list[str]:
    return [line["where"] for line in said if line["log_level"] == "error"]


def test_a_mass_disappearance_is_held_and_the_rest_goes_on(white_balloon: WhiteBalloon, embedded: Embedded) -> None:
    request, users = crowd(white_balloon)
    embedded.catch_up()
    with capture_logs() as said:
        for comment in range(1, 31):
            white_balloon.hard_delete(comment)
        white_balloon.edit(40, "https://example.org/edited")
        white_balloon.comment(users[0], request)
        embedded.catch_up()
    assert held(said) == ["sweep"]
    assert live(embedded, users[0]) == 6
    assert {event.comment_id for event in embedded.drift()} == set(range(1, 31))
    white_balloon.comments(
        [
            {
                "id": number,
                "user_id": users[(number - 1) // 5],
                "help_request_id": request,
                "body": "back",
                "created_at": START,
            }
            for number in range(1, 31)
        ]
    )
    embedded.catch_up()
    assert embedded.drift() == []


def test_rows_that_can_no_longer_be_read_are_held_like_rows_that_went(
    white_balloon: WhiteBalloon, embedded: Embedded
) -> None:
    """As after a migration to times of another kind: nobody deleted anything."""
    _, users = crowd(white_balloon)
    embedded.catch_up()
    statement = "UPDATE request_comments SET created_at = {} || substr(created_at, {}) WHERE id <= 30"
    with capture_logs() as said:
        execute(white_balloon.main_url, statement.format("'on '", 1))
        white_balloon.edit(40, "https://example.org/edited")
        embedded.catch_up()
    assert held(said) == ["sweep"]
    assert live(embedded, users[0]) == 5
    assert {event.comment_id for event in embedded.drift()} == set(range(1, 31))
    execute(white_balloon.main_url, statement.format("''", 4))
    embedded.catch_up()
    assert embedded.drift() == []


def test_the_watermark_stands_while_something_is_held(white_balloon: WhiteBalloon, embedded: Embedded) -> None:
    crowd(white_balloon)
    embedded.catch_up()
    for comment in range(1, 31):
        white_balloon.hard_delete(comment)
    since = embedded.database.clock()
    embedded.catch_up()
    embedded.until(lambda: state(embedded).polled_until > since)
    assert state(embedded).swept_until < since


def state(embedded: Embedded) -> Any:  # noqa: ANN401  a TailState
    document = embedded.projection.store.document(TAIL)
    assert document is not None
    return decode(document)


def test_analyses_that_vanish_all_at_once_are_held(white_balloon: WhiteBalloon, embedded: Embedded) -> None:
    crowd(white_balloon)
    embedded.catch_up()
    with capture_logs() as said:
        for comment in range(1, 51):
            white_balloon.remove_analysis(comment)
        white_balloon.edit(40, "https://example.org/edited")
        embedded.catch_up()
    assert held(said) == ["sweep"]
    drift = embedded.drift()
    assert len(drift) == 50
    assert not any(isinstance(event, CommentCreated) for event in drift)


def test_one_membership_may_end_and_one_title_change_whatever_they_take_along(
    white_balloon: WhiteBalloon, embedded: Embedded
) -> None:
    request, users = white_balloon.add_group("elm", "Elm St", members=2)
    for _ in range(40):
        white_balloon.comment(users[0], request)
    embedded.catch_up()
    with capture_logs() as said:
        white_balloon.leave(users[0], "elm")
        embedded.catch_up()
    assert not held(said)
    assert live(embedded, users[0]) == 0


def test_many_memberships_that_end_at_once_are_held(white_balloon: WhiteBalloon, embedded: Embedded) -> None:
    request, users = crowd(white_balloon)
    embedded.catch_up()
    with capture_logs() as said:
        with white_balloon.main.begin() as connection:
            connection.exec_driver_sql("DELETE FROM user_attributes")
        white_balloon.comment(users[0], request)
        embedded.catch_up()
    assert held(said) == ["groups"]
    assert live(embedded, users[0]) == 6
    for user in users:
        white_balloon.join(user, "elm", "Elm St")
    embedded.catch_up()
    assert embedded.drift() == []


def test_what_disappeared_while_nobody_looked_is_held_at_the_start_until_it_is_confirmed(
    white_balloon: WhiteBalloon, store: MemoryStore
) -> None:
    request, users = crowd(white_balloon)
    first = Embedded(white_balloon, store)
    first.catch_up()
    first.close()
    for comment in range(1, 31):
        white_balloon.hard_delete(comment)
    white_balloon.comment(users[0], request)
    second = Embedded(white_balloon, store)
    with capture_logs() as said:
        second.catch_up()
    assert held(said) == ["store"]
    assert live(second, users[0]) == 6
    second.close()
    third = Embedded(white_balloon, store, msgspec.structs.replace(QUICK, prune_all=True))
    third.catch_up()
    assert third.drift() == []
    assert live(third, users[0]) == 1
    third.close()


# ------------------------------------------------------------------------------------------- what stands in its way


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_writer_s_lock_delays_it_and_does_no_harm(
    white_balloon: WhiteBalloon, embedded: Embedded, journal: str
) -> None:
    request, (user,) = white_balloon.add_group("elm", "Elm St")
    path = make_url(white_balloon.main_url).database or ""
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute(f"PRAGMA journal_mode={journal}")
    embedded.catch_up()
    comment = white_balloon.comment(user, request)
    writer.execute("BEGIN EXCLUSIVE")
    writer.execute("UPDATE request_comments SET body = 'https://example.org/held' WHERE id = ?", (comment,))
    until = time.monotonic() + 3  # longer than the patience of this database
    while time.monotonic() < until:
        embedded.step()
    writer.execute("COMMIT")
    writer.close()
    embedded.catch_up()
    assert live(embedded, user) == 1
    assert embedded.drift() == []


def test_a_database_that_is_away_is_waited_for(white_balloon: WhiteBalloon, embedded: Embedded) -> None:
    request, (user,) = white_balloon.add_group("elm", "Elm St")
    embedded.catch_up()
    path = Path(make_url(white_balloon.main_url).database or "")
    path.rename(path.with_suffix(".away"))
    with capture_logs() as said:
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            embedded.step()
    assert [line["event"] for line in said] == ["the database can't be read; trying again"]
    path.with_suffix(".away").rename(path)
    white_balloon.comment(user, request)
    embedded.catch_up()
    assert live(embedded, user) == 1


def test_what_can_not_be_read_is_not_over_when_something_else_can(
    white_balloon: WhiteBalloon, embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, (user,) = white_balloon.add_group("elm", "Elm St")
    white_balloon.comment(user, request)
    embedded.catch_up()
    tries: list[None] = []

    def refuse(*_: object) -> None:
        tries.append(None)
        raise DatabaseUnavailableError("no answer in time")

    with capture_logs() as said:
        with monkeypatch.context() as context:
            context.setattr("consumer.tail.changes.sweep.analyses_of", refuse)
            white_balloon.comment(user, request)  # which a poll reads, and then a round begins
            embedded.until(lambda: bool(tries))
            white_balloon.comment(user, request)  # which a poll reads before the round goes on
            embedded.until(lambda: len(tries) == 2)
            assert embedded.source.trouble == "no answer in time"
        embedded.until(lambda: not embedded.source.trouble)
    text = "the database can't be read; trying again"
    assert [line["event"] for line in said if "again" in line["event"]] == [text, f"recovered: {text}"]


def test_a_database_that_is_away_at_the_start_is_waited_for(white_balloon: WhiteBalloon, embedded: Embedded) -> None:
    request, (user,) = white_balloon.add_group("elm", "Elm St")
    white_balloon.comment(user, request)
    path = Path(make_url(white_balloon.main_url).database or "")
    path.rename(path.with_suffix(".away"))
    for _ in range(5):
        embedded.step()
    assert not embedded.loop.caught_up()
    path.with_suffix(".away").rename(path)
    embedded.catch_up()
    assert live(embedded, user) == 1


# ------------------------------------------------------------------------------------------------------ PostgreSQL


@pytest.fixture
def postgres(postgres_url: str) -> WhiteBalloon:
    made = WhiteBalloon(postgres_url, postgres_url)
    made.create()
    return made


def test_ids_of_transactions_that_end_late_are_not_missed(postgres: WhiteBalloon) -> None:
    request, (user,) = postgres.add_group("elm", "Elm St")
    embedded = Embedded(postgres, settings=POLLS_ONLY)
    embedded.catch_up()
    values = {"user_id": user, "help_request_id": request, "body": "late", "created_at": START}
    with postgres.main.connect() as late, postgres.main.connect() as never:
        for connection in (late, never, late):
            connection.execute(request_comments.insert().values(values))
        for _ in range(3):
            postgres.comment(user, request)
        embedded.until(lambda: live(embedded, user) == 3)
        late.commit()
        never.rollback()
    embedded.until(lambda: live(embedded, user) == 5)
    embedded.close()


def test_ids_are_waited_for_as_long_as_their_transactions_last_and_no_longer(
    postgres: WhiteBalloon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.tail.changes.gaps.MAX_AGE", 0)  # as though the minute were over at once
    request, (user,) = postgres.add_group("elm", "Elm St")
    embedded = Embedded(postgres, settings=POLLS_ONLY)
    embedded.catch_up()
    values = {"user_id": user, "help_request_id": request, "body": "late", "created_at": START}
    with postgres.main.connect() as late, postgres.main.connect() as never:
        for connection in (never, late):
            connection.execute(request_comments.insert().values(values))
        for number in range(1, 6):
            postgres.comment(user, request)
            embedded.until(lambda least=number: live(embedded, user) == least)  # type: ignore[misc]
        late.commit()
        embedded.until(lambda: live(embedded, user) == 6)
        embedded.until(lambda: [(gap.low, gap.high) for gap in state(embedded).comment_gaps] == [(1, 1)])
        never.rollback()

    def forgotten() -> bool:
        postgres.comment(user, request)
        return not state(embedded).comment_gaps

    embedded.until(forgotten)
    embedded.close()


def test_a_late_transaction_is_found_by_a_successor_too(postgres: WhiteBalloon, store: MemoryStore) -> None:
    request, (user,) = postgres.add_group("elm", "Elm St")
    first = Embedded(postgres, store, POLLS_ONLY)
    first.catch_up()
    values = {"user_id": user, "help_request_id": request, "body": "late", "created_at": START}
    with postgres.main.connect() as late:
        late.execute(request_comments.insert().values(values))
        postgres.comment(user, request)
        first.until(lambda: [(gap.low, gap.high) for gap in state(first).comment_gaps] == [(1, 1)])
        first.close()
        second = Embedded(postgres, store, POLLS_ONLY)
        second.catch_up()
        late.commit()
    second.until(lambda: live(second, user) == 2)
    second.close()


@pytest.mark.parametrize("ended", ["before the first poll", "later"])
def test_a_transaction_that_was_open_at_the_very_first_start_is_found_without_a_sweep(
    postgres: WhiteBalloon, ended: str
) -> None:
    request, (user,) = postgres.add_group("elm", "Elm St")
    postgres.comment(user, request)
    values = {"user_id": user, "help_request_id": request, "body": "late", "created_at": START}
    analysed = {"run_id": "run", "help_request_id": request, "recorded_at": "2024-06-02T08:00:00", "tags": "ride"}
    with postgres.main.connect() as late:
        late.execute(request_comments.insert().values(values))
        postgres.comment(user, request)
        late.execute(comment_llm_analyses.insert().values(comment_id=1, **analysed))
        postgres.analyse(3, tags=["a"])
        embedded = Embedded(postgres, settings=POLLS_ONLY)
        if ended == "later":
            embedded.catch_up()
            assert live(embedded, user) == 2
        else:
            embedded.step()
        late.commit()
    key = ProfileKey(user, "elm")

    def labels() -> list[str]:
        shown = build(key, embedded.projection.read_current([key])[key].head)
        return [] if shown is None else [tag.label for tag in shown.top_tags]

    embedded.until(lambda: live(embedded, user) == 3 and sorted(labels()) == ["a", "ride"])
    embedded.close()


def test_a_database_that_goes_away_between_two_reads_loses_no_analysis(
    postgres: WhiteBalloon, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, (user,) = postgres.add_group("elm", "Elm St")
    embedded = Embedded(postgres, settings=POLLS_ONLY)
    embedded.catch_up()
    for _ in range(3):
        postgres.comment(user, request)
    postgres.analyse(1, tags=["a"])
    embedded.until(lambda: live(embedded, user) == 3 and not embedded.drift())
    horizon = embedded.database.horizon
    failures = [DatabaseUnavailableError("away")]

    def fails_once(*, insights: bool = False) -> Horizon | None:
        if insights and failures:
            raise failures.pop()
        return horizon(insights=insights)

    monkeypatch.setattr(embedded.database, "horizon", fails_once)
    with postgres.main.begin() as connection:  # its run's row stays as it is
        connection.execute(
            comment_llm_analyses.insert().values(
                comment_id=3, run_id="run-1", help_request_id=request, tags='["a"]', recorded_at="2024-06-02T08:00:00"
            )
        )
    embedded.until(lambda: not failures)
    embedded.until(lambda: not embedded.drift())
    embedded.close()


def test_concurrent_writers_lose_nothing_without_a_sweep(postgres: WhiteBalloon) -> None:
    request, (user,) = postgres.add_group("elm", "Elm St")
    embedded = Embedded(postgres, settings=POLLS_ONLY)
    embedded.catch_up()

    def write(number: int) -> None:
        values = {"user_id": user, "help_request_id": request, "body": "hello", "created_at": START}
        with postgres.main.connect() as connection:
            for step in range(40):
                connection.execute(request_comments.insert().values(values))
                time.sleep(0.002 * number)
                (connection.rollback if step % 7 == number else connection.commit)()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(1, 6)]
    for writer in writers:
        writer.start()
    embedded.until(lambda: not any(writer.is_alive() for writer in writers))
    embedded.until(lambda: not embedded.drift())
    embedded.close()


def test_select_is_all_that_it_needs(postgres: WhiteBalloon, postgres_url: str) -> None:
    request, (user,) = postgres.add_group("elm", "Elm St")
    url = make_url(postgres_url)
    with psycopg.connect(
        url.set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True
    ) as admin:
        admin.execute("DROP ROLE IF EXISTS reader")
        admin.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'")
        admin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        reader = url.set(username="reader", password="reader")  # noqa: S106 - of a database that ends with the test
        reading = reader.render_as_string(hide_password=False)
        embedded = Embedded(WhiteBalloon(reading, reading))
        embedded.catch_up()
        comment = postgres.comment(user, request)
        embedded.catch_up()
        assert live(embedded, user) == 1
        postgres.hard_delete(comment)
        embedded.catch_up()
        assert live(embedded, user) == 0
        embedded.close()
        admin.execute("DROP OWNED BY reader")
        admin.execute("DROP ROLE reader")

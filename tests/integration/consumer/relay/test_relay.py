"""`snapshot-relay` on real databases, real Kafka and real Redis."""

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from consumer.tail.state import decode
from projections.comments.events import COMMENT_CREATED, Event
from projections.comments.events import decode as decode_event
from projections.database.database import open_databases
from projections.store.redis.store import RedisStore, connect
from projections.watermark import TAIL
from support.changes import Changes, people
from support.commands import Started, environment, on, run
from support.differences import differences
from support.kafka_broker import Broker
from support.kafka_topics import everything
from support.whiteballoon import START, WhiteBalloon

CATCH_UP = "--until-caught-up"


@pytest.fixture
def white_balloon(tmp_path: Path) -> WhiteBalloon:
    return WhiteBalloon.in_folder(tmp_path / "wb")


@pytest.fixture
def settings(white_balloon: WhiteBalloon, tmp_path: Path, fresh_kafka: str, redis_url: str) -> dict[str, str]:
    assert white_balloon
    return on(tmp_path / "wb", tmp_path / "storage", KAFKA_BOOTSTRAP_SERVERS=fresh_kafka, REDIS_URL=redis_url)


def comments_on(kafka: str) -> list[int]:
    return sorted(
        decode_event(COMMENT_CREATED, record.value).comment_id for record in everything(kafka, COMMENT_CREATED)
    )


def test_the_oracle_through_the_relay_and_two_consumers(  # noqa: PLR0913, PLR0917 - fixtures
    oracle_databases: Path,
    tmp_path: Path,
    fresh_kafka: str,
    kafka_client: str,
    redis_url: str,
    oracle_compare: Callable[[Path], None],
) -> None:
    servers = {"KAFKA_BOOTSTRAP_SERVERS": fresh_kafka, "REDIS_URL": redis_url}
    env = on(oracle_databases, tmp_path / "storage", **servers, KAFKA_CLIENT=kafka_client)
    relayed = run("snapshot-relay", "--backfill", CATCH_UP, env=env)
    assert relayed.returncode == 0, relayed.stderr
    assert int(relayed.stdout.split()[0]) > 40_000
    words = ("snapshot-consumer", CATCH_UP, "--output-dir", str(tmp_path / "out"))
    with (
        Started(*words, env=env, log=tmp_path / "one.log") as one,
        Started(*words, env=env, log=tmp_path / "two.log") as two,
    ):
        assert one.process.wait(120) == 0, one.said()
        assert two.process.wait(120) == 0, two.said()
    oracle_compare(tmp_path / "out")
    again = run("snapshot-relay", CATCH_UP, env=env)
    assert again.stdout == "0 events published\n", again.stderr


def test_a_new_comment_is_published_while_it_runs_and_sigterm_ends_it(
    white_balloon: WhiteBalloon, settings: dict[str, str], tmp_path: Path, fresh_kafka: str
) -> None:
    request, users = white_balloon.add_group("elm", "Elm St")
    first = white_balloon.comment(users[0], request)
    with Started("snapshot-relay", env=settings, log=tmp_path / "relay.log") as relay:
        relay.until(lambda: "tailing the database" in relay.said())
        relay.until(lambda: comments_on(fresh_kafka) == [first])
        second = white_balloon.comment(users[0], request)
        relay.until(lambda: comments_on(fresh_kafka) == [first, second])
        assert relay.terminate(5) == 0, relay.said()
    assert "2 events published" in relay.said()


def test_another_relay_takes_over_within_ten_seconds(
    white_balloon: WhiteBalloon, settings: dict[str, str], tmp_path: Path, fresh_kafka: str
) -> None:
    request, users = white_balloon.add_group("elm", "Elm St")
    with (
        Started("snapshot-relay", env=settings, log=tmp_path / "one.log") as one,
        Started("snapshot-relay", env=settings, log=tmp_path / "two.log") as two,
    ):
        one.until(lambda: "tailing" in one.said() or "tailing" in two.said())
        two.until(lambda: "waiting to take over" in one.said() + two.said())
        working, waiting = (one, two) if "tailing" in one.said() else (two, one)
        working.kill()
        comment = white_balloon.comment(users[0], request)
        waiting.until(lambda: "tailing" in waiting.said(), timeout=10)
        waiting.until(lambda: comment in comments_on(fresh_kafka))  # once or more: a crash may repeat it


def test_kafka_may_be_away_for_a_while(
    white_balloon: WhiteBalloon, own_kafka: Broker, tmp_path: Path, redis_url: str
) -> None:
    env = on(tmp_path / "wb", tmp_path, KAFKA_BOOTSTRAP_SERVERS=own_kafka.bootstrap, REDIS_URL=redis_url)
    request, users = white_balloon.add_group("elm", "Elm St")
    with Started("snapshot-relay", env=env, log=tmp_path / "relay.log") as relay:
        first = white_balloon.comment(users[0], request)
        relay.until(lambda: first in comments_on(own_kafka.bootstrap))
        own_kafka.stop()
        second = white_balloon.comment(users[0], request)
        relay.until(lambda: "Kafka doesn't take the events" in relay.said())
        own_kafka.start()
        relay.until(lambda: second in comments_on(own_kafka.bootstrap))


def test_a_broker_that_hangs_in_the_middle_of_the_history_holds_up_nothing_later(
    white_balloon: WhiteBalloon, own_kafka: Broker, tmp_path: Path, redis_url: str
) -> None:
    env = on(tmp_path / "wb", tmp_path, KAFKA_BOOTSTRAP_SERVERS=own_kafka.bootstrap, REDIS_URL=redis_url)
    request, users = white_balloon.add_group("elm", "Elm St", members=40)
    rows = [{"user_id": user, "help_request_id": request, "body": "hello", "created_at": START} for user in users]
    white_balloon.comments(rows * 500)
    with Started("snapshot-relay", env=env, log=tmp_path / "relay.log") as relay:  # and no consumer
        relay.until(lambda: "tailing the database" in relay.said())
        relay.until(lambda: bool(comments_on(own_kafka.bootstrap)))
        own_kafka.pause()  # whatever is on its way is neither taken nor refused
        relay.until(lambda: "Kafka doesn't take the events" in relay.said())
        own_kafka.resume()
        relay.until(lambda: len(set(comments_on(own_kafka.bootstrap))) == len(rows) * 500)
        own_kafka.pause()
        warnings = relay.said().count("Kafka doesn't take the events")
        white_balloon.comments(rows)
        relay.until(lambda: relay.said().count("Kafka doesn't take the events") > warnings)
        assert relay.terminate(6) == 0, relay.said()
        assert "Traceback" not in relay.said()


def test_without_a_broker_it_says_what_to_do(white_balloon: WhiteBalloon, tmp_path: Path, redis_url: str) -> None:
    assert white_balloon
    env = on(tmp_path / "wb", tmp_path / "storage", REDIS_URL=redis_url)
    done = run("snapshot-relay", env=env)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "KAFKA_BOOTSTRAP_SERVERS is not set" in done.stderr


# --------------------------------------------------------------------------------------- thousands of random changes


class Relays:
    """One relay after the other, each killed some time after it went to work: before, it has nothing to lose."""

    def __init__(self, env: dict[str, str], seed: str, log: Path) -> None:
        self._env = env
        self._random = random.Random(seed)  # noqa: S311  no secret is made of it
        self._log = log
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.killed = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stopping.is_set():
            with Started(*RELAY, env=self._env, log=self._log) as relay:
                relay.until(lambda: self._stopping.is_set() or relay.said().count("tailing the database") > self.killed)
                if self._stopping.wait(self._random.uniform(0.1, 5)):
                    return
                relay.kill()
                self.killed += 1


RELAY = ("snapshot-relay", "--interval", "0.1", "--sweep-interval", "0.2", "--prune-all")


@pytest.fixture(params=["sqlite", "postgresql"])
def crowd(request: pytest.FixtureRequest, white_balloon: WhiteBalloon) -> WhiteBalloon:
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
        white_balloon = WhiteBalloon(url, url)
        white_balloon.create()
    people(white_balloon)
    return white_balloon


@pytest.mark.timeout(240)
def test_thousands_of_random_changes_with_the_relay_killed_at_random_leave_no_drift(
    crowd: WhiteBalloon, tmp_path: Path, fresh_kafka: str, redis_url: str
) -> None:
    env = environment(
        DATABASE_URL=crowd.main_url,
        INSIGHTS_DATABASE_URL=crowd.insights_url,
        SNAPSHOT_STORAGE_DIR=str(tmp_path / "storage"),
        KAFKA_BOOTSTRAP_SERVERS=fresh_kafka,
        REDIS_URL=redis_url,
    )
    writers = [threading.Thread(target=Changes(crowd, f"2024-{n}").make, args=(500, 0.03)) for n in range(4)]
    with Started("snapshot-consumer", env=env, log=tmp_path / "consumer.log") as consumer:
        with Relays(env, "2024", tmp_path / "relay.log") as relays:
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.join()
        assert relays.killed >= 2
        with Started(*RELAY, env=env, log=tmp_path / "last.log") as relay:
            assert not drift(crowd, redis_url, relay, consumer)
            Changes(crowd, "2025").make(300)  # and without a start in between, which compares everything
            assert not drift(crowd, redis_url, relay, consumer)
            judged = run("snapshot-rebuild", "--all", "--dry-run", "--deep", env=env)
            assert judged.returncode == 0, judged.stdout + judged.stderr
            assert "undecided" not in judged.stdout, judged.stdout


def drift(white_balloon: WhiteBalloon, redis_url: str, relay: Started, consumer: Started) -> list[Event]:
    """What is left to repair, once everything that is committed by now was published and consumed."""
    store = RedisStore(connect(redis_url))
    with open_databases(white_balloon.main_url, white_balloon.insights_url) as database:
        since = database.clock()

        def consumed() -> bool:
            assert relay.process.poll() is None, relay.said()
            document = store.document(TAIL)
            if document is None:
                return False
            state = decode(document)
            stand = [state.positions for state in store.bucket_states() if state is not None]
            return min(state.polled_until, state.swept_until) >= since and all(
                positions.get(name, -1) >= end for positions in stand for name, end in state.positions.items()
            )

        try:
            consumer.until(consumed)
        except AssertionError as error:
            raise AssertionError(
                f"{since=}: {store.document(TAIL)!r} {store.bucket_states()[:1]} {relay.said()}"
            ) from error
        found = differences(store, database)
    store.close()
    return found

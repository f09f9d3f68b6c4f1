"""The recovery worker: lost buckets are reconciled with the database, unless that would remove too much."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from consumer.daemon.recovery import RecoveryWorker
from consumer.positions import list_buckets
from projections.database.database import Database, DatabaseUnavailableError
from projections.projection import RULES_VERSION
from projections.store.memory import MemoryStore
from projections.store.protocol import InitialPositions, RecoveryGoal, Save
from snapshot.rebuild.detect import Detection, DetectionResult
from snapshot.rebuild.guarded import GuardedRepair
from snapshot.rebuild.tasks import PartResult
from snapshot.reconcile import notice
from snapshot.reconcile.reconcile import Part
from support.rebuilding import Town
from support.stores import NOW, Clock
from support.whiteballoon import WhiteBalloon

ORIGIN = InitialPositions({}, {}, RULES_VERSION)


@pytest.fixture
def town(tmp_path: Path) -> Town:
    """Twenty-two members with a tagged comment each, all in the store; then every bucket is lost."""
    wb = WhiteBalloon.in_folder(tmp_path / "data")
    request, users = wb.add_group("elm", "Elm", members=22)
    at = datetime(2024, 6, 1)  # noqa: DTZ001 - as WhiteBalloon stores times
    wb.comments([{"user_id": user, "help_request_id": request, "body": "a", "created_at": at} for user in users])
    for comment in range(1, 23):
        wb.analyse(comment, tags=["tag"])
    clock = Clock()
    town = Town(tmp_path, wb, MemoryStore(clock, NOW), clock.wait)
    town.store.initialize(ORIGIN)
    town.apply_rows()
    for bucket, state in enumerate(town.store.bucket_states()):
        assert state is not None
        assert town.store.raise_epoch(
            bucket, state.epoch, RecoveryGoal({"comment-created/0": 0}, reconcile=True, reason="lost"), ORIGIN
        )
    return town


def recover(town: Town, *, prune_all: bool = False) -> RecoveryWorker:
    town.later()
    worker = RecoveryWorker(town.projection, lambda: nullcontext(town.database), lambda: 0.0, prune_all=prune_all)
    worker.step()
    return worker


def waiting(town: Town) -> list[bool]:
    states = town.store.bucket_states()
    return [state is not None and state.recovery is not None and state.recovery.reconcile for state in states]


def test_what_was_lost_comes_back_and_what_is_gone_goes(town: Town) -> None:
    town.wb.hard_delete(1)
    town.store.remove(key := town.store.profiles(2, 2)[0], town.store.load({key: ()})[key].version)
    assert recover(town).trouble is None
    assert not any(waiting(town))
    for bucket, state in enumerate(town.store.bucket_states()):
        assert state is not None
        town.store.recover(bucket, state, None)
    assert town.rebuild().different == 0
    town.check()


@pytest.mark.parametrize("kept", [(), (3, 5)])
def test_the_log_names_the_buckets_that_were_not_lost_again(
    town: Town, monkeypatch: pytest.MonkeyPatch, kept: tuple[int, ...]
) -> None:
    run = GuardedRepair._run  # noqa: SLF001  what happens while it runs

    def lose(repair: GuardedRepair, parts: list[Part]) -> Iterator[PartResult]:
        yield from run(repair, parts)
        for bucket, state in enumerate(town.store.bucket_states()):
            if state is not None and bucket not in kept:
                goal = RecoveryGoal({"comment-created/0": 0}, reconcile=True, reason="lost again")
                assert town.store.raise_epoch(bucket, state.epoch, goal, ORIGIN)

    monkeypatch.setattr(GuardedRepair, "_run", lose)
    with capture_logs() as logged:
        recover(town)
    rebuilt = [line["buckets"] for line in logged if line["event"] == "lost data rebuilt from the database"]
    assert rebuilt == ([list_buckets(kept)] if kept else [])


def test_the_tail_is_given_notice_before_and_after(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is rebuilt from rows that no poll has seen is no drift."""
    notices, run = list[bytes | None](), GuardedRepair._run  # noqa: SLF001  what happens between them

    def watched(repair: GuardedRepair, parts: list[Part]) -> Iterator[PartResult]:
        notices.append(notice.read(town.store))
        yield from run(repair, parts)
        town.later()
        notices.append(notice.read(town.store))

    monkeypatch.setattr(GuardedRepair, "_run", watched)
    recover(town)
    before, during = notices
    assert before == during is not None
    assert notice.read(town.store) not in notices


@pytest.mark.parametrize("what", ["profiles", "tags"])
def test_a_half_restored_database_recovers_nothing(town: Town, what: str) -> None:
    before = {key: town.fields(key) for key in town.store.profiles(0, 100)}
    if what == "tags":
        engine, statement = town.wb.insights, "DELETE FROM comment_llm_analyses"
    else:
        engine, statement = town.wb.main, "DELETE FROM request_comments WHERE id > 2"
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    worker = recover(town)
    counted = "20 of 22 profiles and 20 of 22 comments" if what == "profiles" else "22 of 22 tagged comments' tags"
    assert worker.trouble is not None
    assert f"would remove {counted}" in worker.trouble
    assert "starting this program once with --prune-all" in worker.trouble
    assert worker.failures == 1
    assert all(waiting(town))
    assert {key: town.fields(key) for key in town.store.profiles(0, 100)} == before
    assert recover(town, prune_all=True).trouble is None
    assert not any(waiting(town))


def test_a_few_buckets_are_judged_with_all_that_is_gone(town: Town) -> None:
    """Each part that is lost at another time would lose less than the guard asks for."""
    for bucket, state in enumerate(town.store.bucket_states()):
        if state is not None and bucket % 4:
            town.store.recover(bucket, state, None)
    with town.wb.main.begin() as connection:
        connection.exec_driver_sql("DELETE FROM request_comments WHERE id > 2")
    lost = waiting(town)
    worker = recover(town)
    assert worker.trouble is not None
    assert "would remove 20 of 22 profiles and 20 of 22 comments" in worker.trouble
    assert waiting(town) == lost


@pytest.mark.parametrize("database", ["main", "insights"])
def test_what_vanishes_while_lost_data_is_rebuilt_is_not_removed(
    town: Town, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    detect = Detection.detect

    def vanish(detection: Detection) -> DetectionResult:
        found = detect(detection)
        table = "comment_llm_analyses" if database == "insights" else "user_attributes"
        with (town.wb.insights if database == "insights" else town.wb.main).begin() as connection:
            connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608 - one of two names
        return found

    monkeypatch.setattr(Detection, "detect", vanish)
    before = {key: town.fields(key) for key in town.store.profiles(0, 100)}
    worker = recover(town)
    assert worker.trouble is not None
    assert "blocked by the deletion guard: this would remove 22 of 22" in worker.trouble
    assert all(waiting(town))
    assert {key: town.fields(key) for key in town.store.profiles(0, 100)} == before


def test_each_page_that_is_read_is_a_sign_of_life_though_nothing_differs(town: Town) -> None:
    town.later()
    calls: list[int] = []
    worker = RecoveryWorker(
        town.projection, lambda: nullcontext(town.database), lambda: 0.0, called=lambda: calls.append(worker.pages)
    )
    worker.step()
    assert worker.trouble is None
    assert len(calls) == worker.pages > 5


def test_attempts_that_fail_become_rare_until_the_lost_buckets_are_others(town: Town) -> None:
    at, attempts = [0.0], list[float]()

    def away() -> AbstractContextManager[Database]:
        attempts.append(at[0])
        raise DatabaseUnavailableError("away")

    worker = RecoveryWorker(town.projection, away, lambda: at[0])

    def steps(seconds: int) -> None:
        for _ in range(seconds):
            assert worker.step() == 1  # so what changes is seen at once
            at[0] += 1

    with capture_logs() as lines:
        steps(4000 * 30)  # a day and a half
        assert attempts[:8] == [0, 1, 3, 7, 15, 31, 61, 91]
        assert attempts[-1] - attempts[-2] == 30
        assert [line["event"] for line in lines].count("rebuilding lost data from the database") == 1
        goal_of_one = town.store.bucket_states()[0]
        assert goal_of_one is not None
        town.store.recover(0, goal_of_one, None)
        attempts.clear()
        began = at[0]
        steps(4)
        assert [one - began for one in attempts] == [0, 1, 3]
        assert [line["event"] for line in lines].count("rebuilding lost data from the database") == 2


def test_what_another_has_rebuilt_is_no_trouble_any_more(town: Town) -> None:
    def away() -> AbstractContextManager[Database]:
        raise DatabaseUnavailableError("away")

    worker = RecoveryWorker(town.projection, away, lambda: 0.0)
    worker.step()
    assert worker.trouble == "away"
    states = town.store.bucket_states()
    for bucket, state in enumerate(states):  # lost again: it has to be read again first, which is no recovery
        assert state is not None
        goal = RecoveryGoal({"comment-created/0": 3}, reconcile=True, reason="lost")
        assert town.store.raise_epoch(bucket, state.epoch, goal, ORIGIN._replace(positions={"comment-created/0": 0}))
    worker.step()
    assert worker.trouble == "away"
    for bucket, state in enumerate(town.store.bucket_states()):
        assert state is not None
        town.store.recover(bucket, state, None)
    with capture_logs() as lines:
        worker.step()
    assert not worker.trouble
    assert [line["event"].partition(":")[0] for line in lines] == ["recovered"]


def test_nothing_is_reconciled_before_all_that_is_read_again_was_read(town: Town) -> None:
    for bucket, state in enumerate(town.store.bucket_states()):
        assert state is not None
        goal = RecoveryGoal({"comment-created/0": 3}, reconcile=True, reason="lost")
        assert town.store.raise_epoch(bucket, state.epoch, goal, ORIGIN._replace(positions={"comment-created/0": 0}))
    town.store.remove(key := town.store.profiles(2, 2)[0], town.store.load({key: ()})[key].version)
    assert recover(town).pages == 0
    assert all(waiting(town))
    fence = {"comment-created/0": (0, 3)}
    for bucket, state in enumerate(town.store.bucket_states()):
        assert state is not None
        town.store.save([Save(bucket, (), state.epoch, fence)])
    assert recover(town).trouble is None
    assert not any(waiting(town))
    assert town.store.profiles(2, 2) == [key]

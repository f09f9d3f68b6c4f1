"""A store that is lost: what Kafka still has of rows that are gone is read before the reconcile, which removes it."""

import sqlite3
from collections.abc import Callable
from contextlib import closing, nullcontext
from datetime import datetime
from pathlib import Path

from consumer.daemon.flush_worker import FlushWorker
from consumer.daemon.recovery import RecoveryWorker
from consumer.dead_letters.breaker import BadStreak
from consumer.loop import Loop
from projections.projection import Projection
from projections.remembered.forgotten import BlockedAnywhere, remove_profiles
from projections.store.rollback import RollbackDetector
from snapshot.files.marker import BlockedInMarker
from snapshot.flush.scrub import Scrub
from snapshot.runtime.metrics import NoMetrics
from support.differences import differences
from support.flushing import Rig
from support.scripted import Broker
from support.stores import Passing, memory_bench
from support.tailing import NoDeadLetters
from support.whiteballoon import WhiteBalloon, file_of, opener


class Replaced(Passing):
    """A store that can be lost."""

    def become(self, passing: Passing) -> None:
        self._store = passing.as_store()


def test_a_forgotten_person_is_not_shown_again_by_what_kafka_still_has(tmp_path: Path) -> None:
    wb = WhiteBalloon.in_folder(tmp_path / "data")
    request, users = wb.add_group("elm", "Elm", members=25)
    at = datetime(2024, 6, 1)  # noqa: DTZ001 - as WhiteBalloon stores times
    wb.comments([{"user_id": one, "help_request_id": request, "body": "a", "created_at": at} for one in users])
    user = users[20]
    bench, broker, now = memory_bench(), Broker(batch=2), 0.0
    first = bench.fresh()
    replaced = Replaced(first)
    store = replaced.as_store()
    with opener(wb) as open_it:
        database = open_it()
        events = list(differences(bench.fresh(), database))
        broker.publish(*events)
        rig = Rig(bench, tmp_path / "profiles", store=store)
        detector, clock = RollbackDetector(store), lambda: now
        blocked = BlockedAnywhere(lambda: store, BlockedInMarker(tmp_path / "profiles"), now=clock)
        loop = Loop(
            broker.join(),
            Projection(store),
            NoDeadLetters(),
            BadStreak(),
            NoMetrics(),
            clock,
            detector=detector,
            before_reading=blocked.enforce,
        )
        flusher = rig.flusher(store=store, detector=detector, now=clock)
        flush = FlushWorker(flusher, Scrub(store, rig.folder, clock), detector, clock).step
        recovery = RecoveryWorker(Projection(store), lambda: nullcontext(database), clock).step

        def until(wanted: Callable[[], bool], least: int = 20) -> None:
            nonlocal now
            for number in range(200):
                loop.step(0)
                recovery()
                flush()
                now += 0.5
                bench.wait(0.5)
                if number >= least and wanted():
                    return
            raise AssertionError("it never came to that")

        name = f"{user}-elm.json"
        until(lambda: loop.caught_up() and name in rig.lying())
        with closing(sqlite3.connect(file_of(wb.main_url))) as rows:  # and no relay says that they are gone
            rows.execute("DELETE FROM request_comments WHERE user_id = ?", (user,))
            rows.commit()
        store.raise_floor(user, max(event.revision for event in events))
        remove_profiles(store, store.profiles(user, user))
        until(lambda: name not in rig.lying())
        before = len(rig.announced.all)
        replaced.become(Passing(bench.fresh()))
        until(lambda: loop.caught_up() and not loop.recovering, least=60)
        assert name not in rig.lying()
        assert [one for one in rig.announced.all[before:] if one.user_id == user and one.snapshot] == []
        rig.close()

"""Several daemons on one store and one folder, over a scripted broker, with everything that may happen to them."""

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from consumer.daemon.flush_worker import FlushWorker
from consumer.dead_letters.breaker import BadStreak
from consumer.dead_letters.dead_letters import DeadLetters
from consumer.loop import Loop
from consumer.source import Invalid
from projections.comments.events import Event, topic_of
from projections.profile_key import bucket_of
from projections.projection import Projection
from projections.store.protocol import RecoveryGoal, Store, StoreUnavailableError
from projections.store.rollback import RollbackDetector
from snapshot.flush.scrub import Scrub
from snapshot.runtime.metrics import NoMetrics
from support.flushing import Interrupted, Rig
from support.histories import check
from support.rollback import keep
from support.scripted import Broker
from support.stores import Bench

MEMORY = Path("/dev/shm")  # noqa: S108  a folder of our own is made there: flushing to a disk is not the point


class Process:
    """One daemon: loop, flusher, scrub. `fault` is called before and after each of its store calls."""

    def __init__(self, fleet: "Fleet") -> None:
        self.away = 0
        self.interlude: tuple[int, Callable[[], object]] | None = None
        self._acts = False
        self._fleet = fleet
        store: Any = Interrupted(fleet.store, self._fault)
        self.source = fleet.broker.join()
        detector = RollbackDetector(store)
        streak = BadStreak(least=10**9)  # it stops nothing here
        self.loop = Loop(
            self.source, Projection(store), fleet.letters(), streak, NoMetrics(), fleet.time, detector=detector
        )
        flusher = fleet.rig.flusher(store=store, detector=detector, now=fleet.time)
        self.flush_worker = FlushWorker(flusher, Scrub(store, fleet.rig.folder, fleet.time), detector, fleet.time)

    def _fault(self, _name: str, when: str) -> None:
        if self.interlude is not None:
            left, act = self.interlude
            self.interlude = None if left == 0 else (left - 1, act)
            if left == 0:
                act()
        if self.away and when == ("before" if self.away % 2 else "after"):
            self.away -= 1
            raise StoreUnavailableError("away for a moment")

    def step(self) -> None:
        with self._alone() as free:
            if free:
                self.loop.step(0)
        self._fleet.now += 1.0

    def flush(self) -> None:
        with self._alone() as free, suppress(StoreUnavailableError):  # the worker's thread waits and tries again
            if free:
                self.flush_worker.step()
        self._fleet.now += 0.3

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether it is free to act: in the interlude of an interlude it stands in the midst of a call of its own."""
        free, self._acts = not self._acts, True
        try:
            yield free
        finally:
            self._acts = not free

    def done(self) -> bool:
        return self.loop.finish() and self.flush_worker.idle()


class Fleet:
    """The store, the broker, the history that the database would show, and the daemons that run."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.now = 0.0
        self.store: Store = bench.fresh()
        self.kept = [keep(self.store)]
        self.path = Path(tempfile.mkdtemp(prefix="sis-fleet-", dir=MEMORY if MEMORY.is_dir() else None))
        self.rig = Rig(bench, self.path / "profiles", store=self.store)
        self.broker = Broker(batch=2)
        self.history: list[Event] = []
        self.dead_letters: list[Invalid] = []
        self.processes: list[Process] = []
        self._revisions = itertools.count(1)

    def time(self) -> float:
        return self.now

    def letters(self) -> DeadLetters:
        """Where messages that are no events are kept."""
        dead_letters = self.dead_letters

        class Letters:
            def send(self, invalid: Sequence[Invalid]) -> None:
                dead_letters.extend(invalid)

        return Letters()

    def start(self) -> Process:
        self.processes.append(Process(self))
        return self.processes[-1]

    def kill(self, process: Process) -> None:
        """As kill -9 does: the broker notices, the store does not."""
        self.processes.remove(process)
        self.broker.leave(process.source)

    def publish(self, event: Event) -> None:
        event = msgspec.structs.replace(event, revision=next(self._revisions))
        self.history.append(event)
        self.broker.publish(event)

    def recover(self) -> None:
        """What the recovery worker does, with the history in the database's place."""
        for bucket, state in enumerate(self.store.bucket_states()):
            if state is not None and state.recovery is not None and state.recovery.reconcile:
                Projection(self.store).apply([event for event in self.history if bucket_of(event.user_id) == bucket])
                self.store.recover(bucket, state, RecoveryGoal(state.recovery.ends, reconcile=False, reason=""))

    def trim(self, name: str, messages: int) -> None:
        """Retention takes messages, read or not; not before the group has committed anything, or nobody could tell."""
        if name in self.broker.committed:
            messages = min(messages, len(self.broker.logs[name]))
            del self.broker.logs[name][:messages]
            self.broker.earliest[name] += messages

    def remake(self, topic: str) -> None:
        """The topic is deleted, made again and filled again, as a relay does; the members notice."""
        self.broker.remake(topic)
        self.broker.publish(*[event for event in self.history if topic_of(event) == topic])
        self.broker.rebalance()

    def ends(self) -> dict[str, int]:
        return {name: self.broker.end(name) for name in self.broker.logs}

    def settle(self) -> None:
        """Let everything come to rest."""
        for process in self.processes or [self.start()]:
            process.away, process.interlude = 0, None
        for _ in range(400):
            for process in self.processes:
                process.step()
                process.flush()
            self.recover()
            if all(process.done() for process in self.processes) and self.broker.committed == self.ends():
                return
            self.bench.wait(0.05 if self.bench.examples < 100 else 1.0)
        raise AssertionError(f"it never comes to rest: {self.store.bucket_states()[:3]}, {self.rig.flusher().wait()}")

    def right(self) -> None:
        """Profiles, positions, files and announcements are what the history gives."""
        check(Projection(self.store), self.history)
        ends = self.ends()
        for state in self.store.bucket_states():
            assert state is not None
            assert (dict(state.positions), state.recovery) == (ends, None)
        self.rig.right()

    def close(self) -> None:
        self.rig.close()
        shutil.rmtree(self.path)

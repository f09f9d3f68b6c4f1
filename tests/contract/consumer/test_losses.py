"""Daemons come and go, the store fails and falls back, the broker forgets: it always ends as the history says."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from consumer.source import Invalid
from projections.comments.events import Event
from projections.profile_key import ProfileKey
from snapshot.schema import parse_file
from support import histories
from support.fleet import Fleet
from support.rollback import keep
from support.stores import Bench

PARTITIONS = tuple(f"{topic}/{number}" for topic in ("comment-created", "insight-created") for number in (0, 1))
indexes = st.integers(0, 5)


class Losses(RuleBasedStateMachine):
    """Everything at once, with up to three daemons."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.fleet = Fleet(bench)
        self.fleet.start()

    def one(self, index: int) -> Any:  # noqa: ANN401  a Process
        return self.fleet.processes[index % len(self.fleet.processes)]

    @rule(events=st.lists(histories.events, min_size=1, max_size=6), fingerprint_of=st.booleans())
    def publish(self, events: list[Event], fingerprint_of: bool) -> None:
        for event in events:
            self.fleet.publish(event)
        if fingerprint_of:
            self.fleet.kept.append(keep(self.fleet.store))

    @rule(number=st.integers(0, 1))
    def publish_garbage(self, number: int) -> None:
        self.fleet.broker.publish(Invalid("comment-created", number, 0, None, b"{", (), "no JSON"))

    @precondition(lambda self: self.fleet.processes)
    @rule(index=indexes, times=st.integers(1, 6))
    def step(self, index: int, times: int) -> None:
        for _ in range(times):
            self.one(index).step()

    @precondition(lambda self: self.fleet.processes)
    @rule(index=indexes, times=st.integers(1, 4))
    def flush(self, index: int, times: int) -> None:
        for _ in range(times):
            self.one(index).flush()

    @precondition(lambda self: self.fleet.processes)
    @rule(index=indexes, times=st.integers(1, 4), recover=st.booleans())
    def work(self, index: int, times: int, recover: bool) -> None:
        for _ in range(times):
            self.one(index).step()
            self.one(index).flush()
            if recover:
                self.fleet.recover()

    @rule()
    def recover(self) -> None:
        self.fleet.recover()

    @precondition(lambda self: len(self.fleet.processes) < 3)
    @rule()
    def start(self) -> None:
        self.fleet.start()

    @precondition(lambda self: self.fleet.processes)
    @rule(index=indexes)
    def kill(self, index: int) -> None:
        self.fleet.kill(self.one(index))

    @rule()
    def rebalance(self) -> None:
        self.fleet.broker.rebalance()

    @precondition(lambda self: self.fleet.processes)
    @rule(index=indexes, calls=st.integers(1, 12))
    def lose_sight_of_the_store(self, index: int, calls: int) -> None:
        self.one(index).away = calls

    @precondition(lambda self: len(self.fleet.processes) > 1)
    @rule(index=indexes, call=st.integers(0, 25), times=st.integers(1, 4), flush=st.booleans())
    def another_acts_between_two_calls(self, index: int, call: int, times: int, flush: bool) -> None:
        one, other = self.one(index), self.one(index + 1)

        def act() -> None:
            for _ in range(times):
                other.step()
                if flush:
                    other.flush()

        one.interlude = (call, act)

    @rule(away=st.booleans())
    def lose_sight_of_the_broker(self, away: bool) -> None:
        self.fleet.broker.away = away

    @rule(away=st.booleans())
    def lose_sight_of_downstream(self, away: bool) -> None:
        self.fleet.rig.announced.failing = TimeoutError("not acknowledged") if away else None

    @rule(back=st.sampled_from((1, 1, 1, 2, 3, 99)), flush=st.integers(0, 2))
    def fall_back(self, back: int, flush: int) -> None:
        """To what was remembered last, or before; and with luck a flusher is the first to see it."""
        self.fleet.kept[-min(back, len(self.fleet.kept))]()
        for _ in range(flush):
            for process in self.fleet.processes:
                process.flush()

    @rule(name=st.sampled_from(PARTITIONS), messages=st.integers(1, 6))
    def retention(self, name: str, messages: int) -> None:
        self.fleet.trim(name, messages)

    @rule(topic=st.sampled_from(("comment-created", "insight-created")))
    def recreate_a_topic(self, topic: str) -> None:
        self.fleet.remake(topic)

    def teardown(self) -> None:
        try:
            self.fleet.broker.away = False
            self.fleet.rig.announced.failing = None
            self.fleet.settle()
            self.fleet.right()
        finally:
            self.fleet.close()


class Alone(Losses):
    """One daemon and comments that are only added: then no file ever shows less than it showed before."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.shown: dict[str, int] = {}
        self.number = 0

    @rule(events=st.lists(st.sampled_from(histories.KEYS), min_size=1, max_size=6), fingerprint_of=st.booleans())
    def publish(self, events: list[ProfileKey], fingerprint_of: bool) -> None:
        for key in events:
            self.number += 1
            self.fleet.publish(histories.comment(key, self.number, 0, f"https://example.org/{self.number % 7}"))
        if fingerprint_of:
            self.fleet.kept.append(keep(self.fleet.store))

    def kill(self) -> None:
        """Never."""

    def start(self) -> None:
        """Never."""

    @invariant()
    def no_file_shows_less_than_before(self) -> None:
        for name, content in self.fleet.rig.lying().items():
            count = parse_file(content).message_count
            assert count >= self.shown.get(name, 0), name
            self.shown[name] = count


@pytest.mark.parametrize("machine", [Losses, Alone])
def test_it_always_ends_as_the_history_says(bench: Bench, machine: type[Losses]) -> None:
    memory = bench.examples > 100
    made: Any = lambda: machine(bench)  # noqa: E731  Hypothesis takes whatever makes one
    run_state_machine_as_test(
        made,
        settings=settings(
            max_examples=150 if memory else 10,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

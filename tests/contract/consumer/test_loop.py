"""The consumer's loop over a scripted broker, on both stores."""

from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from consumer.dead_letters.breaker import BadStreak
from consumer.dead_letters.dead_letters import DeadLetterError
from consumer.loop import Loop
from consumer.source import Batch, Invalid
from projections.comments.events import Event
from projections.errors import OperatorError
from projections.profile_key import BUCKETS, bucket_of
from projections.projection import RULES_VERSION, Projection
from projections.store.known_profiles import KnownProfiles
from projections.store.protocol import InitialPositions, RecoveryGoal, Store, StoreUnavailableError
from support.epochs import epochs
from support.flushing import Interrupted, fail_at
from support.histories import KEYS, check, comment, insight
from support.metrics import RecordedMetrics
from support.rollback import keep
from support.scripted import Broker, Member

KEY, OTHER = KEYS[0], KEYS[2]
BUCKET = bucket_of(KEY.user_id)


class Kept:
    """Dead letters in a list; `failing` times they can't be kept."""

    def __init__(self, failing: int = 0) -> None:
        self.all: list[Invalid] = []
        self.failing = failing

    def send(self, invalid: Sequence[Invalid]) -> None:
        if self.failing:
            self.failing -= 1
            raise DeadLetterError("no place for it")
        self.all += invalid


class Running:
    """A loop and its parts; a second passes with each step, so each step commits."""

    def __init__(  # or what stands for the store
        self,
        store: Any,  # noqa: ANN401  or what stands for it
        broker: Broker,
        dead_letters: Kept | None = None,
        *,
        known: bool = True,
    ) -> None:
        self.now = 0.0
        self.broker = broker
        self.dead_letters = dead_letters or Kept()
        self.source = broker.join()
        self.metrics = RecordedMetrics()
        projection = Projection(store, known=KnownProfiles(store) if known else None)
        self.loop = Loop(
            self.source,
            projection,
            self.dead_letters,
            BadStreak(),
            self.metrics,
            lambda: self.now,
            wall=lambda: self.now,
        )

    def steps(self, number: int = 10) -> int:
        applied = 0
        for _ in range(number):
            applied += self.loop.step(0)
            self.now += 1
        return applied


def garbage(number: int, topic: str = "comment-created") -> Invalid:
    return Invalid(topic, 0, number, b"1", b"garbage", (), "it is no JSON")


HISTORY: list[Event] = [
    *[comment(KEY, number, number, f"https://example.org/{number}") for number in range(1, 8)],
    *[insight(KEY, number, number, ("soup",)) for number in range(1, 5)],
    *[comment(OTHER, number, number) for number in range(11, 15)],
]


def assert_all(store: Store, broker: Broker, history: Sequence[Event] = HISTORY) -> None:
    """Everything is in the store, and committed."""
    check(Projection(store), history)
    ends = {name: broker.end(name) for name in broker.logs}
    assert broker.committed == ends
    for state in store.bucket_states():
        assert state is not None
        assert state.positions == ends
        assert state.recovery is None


def recover(store: Store, history: Sequence[Event]) -> None:
    """What the recovery worker does, with the history in the database's place."""
    for bucket, state in enumerate(store.bucket_states()):
        if state is not None and state.recovery is not None and state.recovery.reconcile:
            Projection(store).apply([event for event in history if bucket_of(event.user_id) == bucket])
            store.recover(bucket, state, RecoveryGoal(state.recovery.ends, reconcile=False, reason=""))


def test_events_become_profiles_and_are_committed(store: Store) -> None:
    broker = Broker()
    running = Running(store, broker)
    broker.publish(*HISTORY)
    assert running.steps() == len(HISTORY)
    assert_all(store, broker)
    assert running.loop.caught_up()
    assert running.loop.finish()


def test_what_waits_has_an_age_and_nothing_has_none(store: Store) -> None:
    broker = Broker(partitions=1, batch=3)
    running = Running(store, broker, Kept(failing=4))
    ages: list[float] = []

    def steps(number: int) -> None:
        for _ in range(number):
            running.steps(1)
            ages.append(running.metrics.gauges["signal_glaze.lag_seconds"])

    running.steps(10)  # ten seconds, and nothing was ever read
    assert running.metrics.gauges["signal_glaze.lag_seconds"] == 0
    broker.publish(*[comment(KEY, number, 4_000_000 + number) for number in range(1, 5)])
    steps(2)  # at second 10 the first three of four events are read, from second 4
    assert ages == [6.0, 0.0]
    ages.clear()
    broker.publish(comment(KEY, 9, 10_000_000), garbage(5))
    steps(6)  # the place for dead letters is away: four times it is tried in vain
    assert ages == [2.0, 3.0, 4.0, 5.0, 0.0, 0.0]


def test_profiles_that_older_rules_counted_are_no_loss(store: Store) -> None:
    broker = Broker(partitions=1)
    broker.publish(*HISTORY)
    running = Running(store, broker)
    running.steps()
    for bucket in range(BUCKETS):
        assert store.raise_epoch(bucket, 0, RecoveryGoal({}, reconcile=False, reason=""), InitialPositions({}, {}, "0"))
    with capture_logs() as lines:
        running.steps(2)
        recover(store, HISTORY)
        running.steps(2)
    first = lines[0]
    assert (first["log_level"], first["reasons"]) == (
        "warning",
        [f"it was counted by rules 0, these are {RULES_VERSION}"],
    )
    assert "the rules of counting changed" in first["event"]
    assert [line for line in lines if line["log_level"] == "error"] == []
    assert "signal_glaze.losses" not in running.metrics.counts
    assert_all(store, broker)


def test_the_lag_is_sent_with_each_commit(store: Store) -> None:
    broker = Broker(partitions=1, batch=2)
    running = Running(store, broker)
    broker.publish(*HISTORY)
    running.steps(2)
    assert running.metrics.gauges["signal_glaze.lag"] == len(HISTORY) - 4
    running.steps()
    assert running.metrics.gauges["signal_glaze.lag"] == 0
    assert running.metrics.counts["signal_glaze.events_applied"] == len(HISTORY)


def test_a_first_fill_loads_no_profile_and_a_later_process_does(store: Store) -> None:
    loads: list[str] = []

    def act(name: str, when: str) -> None:
        loads.extend([when] if name == "load" else [])

    broker = Broker(partitions=1, batch=3)
    broker.publish(*HISTORY)
    Running(Interrupted(store, act), broker).steps()
    assert not loads
    assert_all(store, broker)
    further = [comment(KEY, 40, 1, "https://example.org/1"), comment(OTHER, 11, 20)]
    broker.publish(*further)
    Running(Interrupted(store, act), broker).steps(20)
    assert loads
    assert_all(store, broker, [*HISTORY, *further])


def test_it_is_behind_while_many_events_wait(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.loop.BEHIND_EVENTS", 5)
    broker = Broker(partitions=1, batch=2)
    running = Running(store, broker)
    broker.publish(*HISTORY)
    running.steps(2)
    assert running.loop.behind
    running.steps()
    assert not running.loop.behind


def test_a_loop_without_an_assignment_has_not_caught_up(store: Store) -> None:
    broker = Broker()
    running = Running(store, broker)
    assert not running.loop.caught_up()
    assert not running.loop.finish()
    running.loop.commit()
    assert broker.committed == {}


def test_nothing_is_committed_before_the_store_has_it(store: Store) -> None:
    broker = Broker()
    away = [True]

    def act(name: str, _when: str) -> None:
        if name == "save" and away[0]:
            raise StoreUnavailableError("away")

    running = Running(Interrupted(store, act), broker)
    broker.publish(*HISTORY)
    running.steps()
    assert broker.committed == {}
    away[0] = False
    running.steps()
    assert_all(store, broker)


def test_while_the_store_is_away_one_batch_is_kept_and_the_source_is_polled_on(store: Store) -> None:
    broker = Broker(partitions=1, batch=2)
    away, polls = [False], [0]

    def act(name: str, _when: str) -> None:
        if away[0]:
            raise StoreUnavailableError(f"away: {name}")

    running = Running(Interrupted(store, act), broker)
    running.steps(2)
    poll = running.source.poll

    def counted(seconds: float) -> Batch:
        polls[0] += 1
        return poll(seconds)

    running.source.poll = counted  # type: ignore[method-assign]  # a test's eye
    away[0] = True
    broker.publish(*HISTORY)
    assert running.steps(20) == 0
    assert running.loop.unavailable
    assert "away" in running.loop.reason
    assert polls[0] == 20, "the membership lives"
    assert sum(running.source._positions.values()) <= 4, "bounded memory"  # noqa: SLF001  what it has given out
    assert not running.loop.caught_up()
    away[0] = False
    running.steps(20)
    assert running.loop.caught_up()
    assert_all(store, broker)


def test_an_outage_ends_with_a_write_though_reads_are_answered(store: Store) -> None:
    """A full disk; and nothing more has to be written when there is room again."""
    full = [False]

    def act(name: str, _when: str) -> None:
        if full[0] and name in {"save", "lease", "initialize", "recover", "raise_epoch"}:
            raise StoreUnavailableError("no space left")

    broker = Broker(partitions=1)
    running = Running(Interrupted(store, act), broker)
    running.steps(2)
    broker.publish(*HISTORY)
    running.steps()  # committed
    with capture_logs() as lines:
        broker.publish(comment(KEY, 30, 30))
        running.now -= 0.5
        assert running.loop.step(0) == 1
        full[0] = True
        for _ in range(8):  # the other buckets' positions are to follow, each second
            running.now += 0.5
            running.loop.step(0)
        assert running.loop.trouble == "no space left"
        assert [line["event"] for line in lines] == ["nothing is consumed meanwhile"]
        full[0] = False
        for _ in range(8):
            running.loop.step(0)
    assert not running.loop.unavailable
    assert [line["event"] for line in lines][1:] == ["recovered: nothing is consumed meanwhile"]
    running.steps(2)
    assert_all(store, broker, [*HISTORY, comment(KEY, 30, 30)])


CALLS = [
    ("initialize", 1),
    *[(name, at) for name in ("bucket_states", "load", "save", "raise_epoch") for at in (1, 2, 5)],
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("name", "at"), CALLS)
def test_a_store_that_goes_away_at_any_call_costs_nothing(store: Store, name: str, when: str, at: int) -> None:
    broker = Broker()
    calls = [0]

    def act(called: str, then: str) -> None:
        if (called, then) == (name, when):
            calls[0] += 1
            if calls[0] == at:
                raise StoreUnavailableError("for a moment")

    broker.committed = dict.fromkeys(broker.logs, 0)  # so the store seems to have lost its states
    running = Running(Interrupted(store, act), broker, known=name != "load")
    broker.publish(*HISTORY, garbage(1))
    for _ in range(3):
        running.steps(5)
        recover(store, HISTORY)
    running.steps(5)
    assert calls[0] >= at
    assert_all(store, broker)
    assert len(running.dead_letters.all) == 1


def test_dead_letters_are_kept_once_however_long_the_store_is_away(store: Store) -> None:
    broker = Broker(partitions=1, batch=100)
    running = Running(Interrupted(store, fail_at("save", "before", 30)), broker)
    broker.publish(garbage(1), *HISTORY, garbage(2))
    running.steps(60)
    assert running.dead_letters.all == [garbage(1), garbage(2)]
    assert_all(store, broker)


def test_dead_letters_that_can_not_be_kept_keep_the_batch_waiting(store: Store) -> None:
    broker = Broker(partitions=1, batch=100)
    running = Running(store, broker, Kept(failing=5))
    broker.publish(*HISTORY, garbage(1))
    assert running.steps(6) == 0
    assert running.loop.unavailable
    assert broker.committed.get("comment-created/0", 0) == 0
    assert running.steps() == len(HISTORY)
    assert running.dead_letters.all == [garbage(1)]
    assert_all(store, broker)


def test_mostly_garbage_stops_it_with_all_of_it_kept(store: Store) -> None:
    broker = Broker(partitions=1, batch=30)
    running = Running(store, broker)
    broker.publish(*[garbage(number) for number in range(50)])
    with pytest.raises(OperatorError, match=r"it is no JSON.*start again"):
        running.steps()
    assert len(running.dead_letters.all) == 30
    running.loop.commit()
    assert broker.committed["comment-created/0"] == 30, "the next start goes on behind it"


def test_some_garbage_among_much_that_is_good_stops_nothing(store: Store) -> None:
    broker = Broker(partitions=1, batch=7)
    running = Running(store, broker)
    history = [comment(KEY, number, 1) for number in range(1, 61)]
    for number, event in enumerate(history):
        broker.publish(event, *([garbage(number)] if number % 3 == 0 else []))
    running.steps(30)
    assert len(running.dead_letters.all) == 20
    assert_all(store, broker, history)


def test_a_rebalance_drops_what_is_pending(store: Store) -> None:
    broker = Broker(partitions=1, batch=2)
    first = Running(Interrupted(store, fail_at("save", "before", 1)), broker)
    broker.publish(*HISTORY)
    first.steps(2)
    assert first.loop.unavailable, "it has a pending batch"
    second = Running(store, broker)
    for _ in range(30):
        second.steps(1)
        first.steps(1)
    assert_all(store, broker)


def test_a_member_that_does_not_know_yet_that_it_was_replaced_does_no_harm(store: Store) -> None:
    """Its save comes in the middle of the other's work, and again when the other has long gone on."""
    broker = Broker(partitions=1, batch=2)
    others: list[Running] = []
    saves = [0]

    def act(name: str, when: str) -> None:
        if (name, when) == ("save", "before"):
            saves[0] += 1
            if saves[0] == 2:
                others.append(Running(store, broker))
                others[0].steps(40)

    zombie = Running(Interrupted(store, act), broker)
    broker.publish(*HISTORY)
    zombie.steps(40)
    others[0].steps(10)
    assert_all(store, broker)


def test_a_source_that_is_away_is_waited_for(store: Store) -> None:
    broker = Broker()
    running = Running(store, broker)
    broker.publish(*HISTORY)
    broker.away = True
    assert running.steps(5) == 0
    assert running.loop.unavailable
    assert "broker" in running.loop.reason
    broker.away = False
    running.steps()
    assert_all(store, broker)


def test_offsets_that_are_gone_are_reported_read_from_the_earliest_and_reconciled(store: Store) -> None:
    broker = Broker(partitions=1, batch=2)
    running = Running(store, broker)
    broker.publish(*HISTORY[:7])
    running.steps(3)
    broker.publish(*HISTORY[7:])
    log = broker.logs["comment-created/0"]
    del log[:6]
    broker.earliest["comment-created/0"] = 6
    running.steps(20)
    assert epochs(store)
    assert all(state is not None and state.recovery is not None for state in store.bucket_states())
    assert not running.loop.caught_up()
    recover(store, HISTORY)
    running.steps()
    assert_all(store, broker)
    assert running.loop.finish()


def test_a_recreated_topic_is_read_from_its_beginning(store: Store) -> None:
    broker = Broker(partitions=1, batch=2)
    running = Running(store, broker)
    broker.publish(*HISTORY[:5])
    running.steps()
    broker.remake("comment-created")
    broker.publish(*[comment(KEY, 100 + number, 1) for number in range(8)], *HISTORY[5:])
    broker.rebalance()  # a source begins a generation when it sees another id
    running.steps(20)
    history = [*HISTORY, *[comment(KEY, 100 + number, 1) for number in range(8)]]
    recover(store, history)
    running.steps()
    assert_all(store, broker, history)


def test_partitions_that_were_added_are_read_from_their_beginning(store: Store) -> None:
    broker = Broker(partitions=1)
    running = Running(store, broker)
    broker.publish(*HISTORY[:5])
    running.steps()
    broker.add_partitions(3)
    broker.publish(*HISTORY[5:])
    broker.rebalance()
    running.steps()
    assert_all(store, broker)
    assert all(state is not None and state.epoch == 0 for state in store.bucket_states())


def test_a_store_that_was_rolled_back_is_read_again_and_recovers(store: Store) -> None:
    broker = Broker(partitions=1, batch=2)
    running = Running(store, broker)
    broker.publish(*HISTORY[:7])
    running.steps(3)
    fall_back = keep(store)
    broker.publish(*HISTORY[7:])
    running.steps(20)
    fall_back()
    running.steps(20)
    assert not running.loop.caught_up(), "it recovers"
    raised = epochs(store)
    recover(store, HISTORY)
    running.steps()
    assert_all(store, broker)
    assert epochs(store) == raised


def test_a_store_that_was_emptied_while_it_was_away_recovers(store: Store) -> None:
    empty = keep(store)
    broker = Broker()
    away = [False]

    def act(_name: str, _when: str) -> None:
        if away[0]:
            raise StoreUnavailableError("away")

    running = Running(Interrupted(store, act), broker)
    broker.publish(*HISTORY)
    running.steps()
    away[0] = True
    running.steps(3)
    empty()
    away[0] = False
    running.steps(20)
    raised = epochs(store)
    recover(store, HISTORY)
    running.steps()
    assert_all(store, broker)
    assert epochs(store) == raised


def test_another_process_new_epoch_is_adopted(store: Store) -> None:
    broker = Broker(partitions=1, batch=2)
    running = Running(store, broker)
    broker.publish(*HISTORY[:5])
    running.steps()
    for bucket in range(BUCKETS):
        store.raise_epoch(
            bucket, 0, RecoveryGoal({}, reconcile=True, reason="a test"), InitialPositions({}, {}, RULES_VERSION)
        )
    raised = epochs(store)
    broker.publish(*HISTORY[5:])
    running.steps(20)
    recover(store, HISTORY)
    running.steps()
    assert_all(store, broker)
    assert epochs(store) == raised


def test_a_source_that_skips_something_is_not_believed(store: Store) -> None:
    """Its positions would cover what was never applied."""
    broker = Broker(partitions=1, batch=2)
    running = Running(store, broker)
    running.steps(2)
    broker.publish(*HISTORY)
    poll, skipped = running.source.poll, [False]

    def skipping(seconds: float) -> Batch:
        batch = poll(seconds)
        if batch.events and not skipped[0]:
            skipped[0] = True
            return poll(seconds)
        return batch

    running.source.poll = skipping  # type: ignore[method-assign]  # a source with a mistake
    running.steps(30)
    assert skipped[0]
    assert_all(store, broker)


def test_finishing_survives_whatever_interrupts_it(store: Store) -> None:
    broker = Broker()
    running = Running(Interrupted(store, fail_at("bucket_states", "before", 0)), broker)
    broker.publish(*HISTORY)
    running.steps()
    store.raise_epoch(
        BUCKET,
        0,
        RecoveryGoal(dict.fromkeys(broker.logs, 0), reconcile=False, reason="a test"),
        InitialPositions({}, {}, RULES_VERSION),
    )
    broker.publish(comment(KEY, 50, 1))
    assert not running.loop.finish()
    running.steps()
    assert running.loop.finish()
    assert_all(store, broker, [*HISTORY, comment(KEY, 50, 1)])


def test_a_closed_member_leaves_the_rest_to_the_others(store: Store) -> None:
    broker = Broker()
    first, second = Running(store, broker), Running(store, broker)
    broker.publish(*HISTORY)
    first.steps(1)
    first.source.close()
    second.steps(20)
    assert_all(store, broker)
    assert isinstance(first.source, Member)

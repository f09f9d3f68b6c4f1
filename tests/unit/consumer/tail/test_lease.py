"""The lease of the tail and its document."""

import pytest

from consumer.tail.lease import TailLease
from consumer.tail.session import LeaseTerm
from consumer.tail.state import RESERVE, TailState
from projections.errors import OperatorError
from projections.store.memory import MemoryStore
from projections.store.protocol import StoreUnavailableError
from projections.watermark import TAIL, observe, time_of_reading


class Time:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def monotonic(self) -> float:
        return self.seconds

    def microseconds(self) -> int:
        return int(self.seconds * 1_000_000)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store(time: Time) -> MemoryStore:
    return MemoryStore(time.microseconds)


def lease(store: MemoryStore, time: Time, token: str) -> TailLease:
    return TailLease(store, token, 5.0, time.monotonic)


def test_only_one_holds_it_and_the_other_takes_over_when_it_ran_out(store: MemoryStore, time: Time) -> None:
    one, two = lease(store, time, "one"), lease(store, time, "two")
    assert one.renew()
    assert not two.renew()
    time.seconds += 4.9
    assert not two.renew()
    time.seconds += 2
    assert two.renew()
    assert not one.renew()


def test_it_is_renewed_in_time_and_not_at_every_question(store: MemoryStore, time: Time) -> None:
    one, two = lease(store, time, "one"), lease(store, time, "two")
    renewals = 0
    for _ in range(100):
        assert one.renew()
        renewals += one.just_renewed
        assert not two.renew()
        time.seconds += 0.2
    assert 10 <= renewals <= 13


def test_while_the_store_is_away_it_is_held_only_as_long_as_nobody_can_have_it(
    store: MemoryStore, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = lease(store, time, "one")
    assert one.renew()

    def away(*_: object) -> bool:
        raise StoreUnavailableError("away")

    monkeypatch.setattr(store, "lease", away)
    time.seconds += 4.9
    assert one.renew()
    assert one.unavailable
    time.seconds += 0.2
    assert not one.renew()


def test_a_document_is_written_by_the_holder_only(store: MemoryStore, time: Time) -> None:
    one, two = lease(store, time, "one"), lease(store, time, "two")
    assert one.renew()
    assert one.save(TailState(position=7))
    time.seconds += 6
    assert two.renew()
    assert not one.save(TailState(position=8))
    assert not one.held
    found = two.load()
    assert found is not None
    assert found.position == 7


def test_a_released_lease_is_free_at_once(store: MemoryStore, time: Time) -> None:
    one, two = lease(store, time, "one"), lease(store, time, "two")
    assert one.renew()
    one.release()
    assert two.renew()


def test_a_session_begins_above_all_that_the_one_before_reserved(store: MemoryStore, time: Time) -> None:
    one = lease(store, time, "one")
    assert one.renew()
    first = LeaseTerm(one, time.microseconds)
    assert first.first == 0
    handed_out = first.revisions.next()
    assert first.reserve()
    one.release()
    two = lease(store, time, "two")
    assert two.renew()
    second = LeaseTerm(two, time.microseconds)
    assert second.first == handed_out + RESERVE + 1
    assert second.revisions.next() > second.first


def test_a_session_that_ended_well_keeps_nothing_reserved(store: MemoryStore, time: Time) -> None:
    one = lease(store, time, "one")
    assert one.renew()
    first = LeaseTerm(one, time.microseconds)
    handed_out = first.revisions.next()
    assert first.reserve()
    assert first.end()
    assert LeaseTerm(one, time.microseconds).first == handed_out + 1


def test_nothing_is_handed_out_once_the_lease_was_lost(store: MemoryStore, time: Time) -> None:
    one = lease(store, time, "one")
    assert one.renew()
    session = LeaseTerm(one, time.microseconds)
    time.seconds += 6
    assert lease(store, time, "two").renew()
    session.revisions.next()
    assert not session.reserve()


def test_one_that_slept_while_another_worked_begins_a_new_term(store: MemoryStore, time: Time) -> None:
    sleeper, other = lease(store, time, "sleeper"), lease(store, time, "other")
    assert sleeper.renew()
    assert sleeper.save(TailState(position=7))
    time.seconds += 6
    assert other.renew()
    assert other.save(TailState(position=8))
    other.release()
    assert not sleeper.renew()
    time.seconds += 2
    assert sleeper.renew()


def test_one_that_slept_while_nobody_worked_goes_on(store: MemoryStore, time: Time) -> None:
    sleeper = lease(store, time, "sleeper")
    assert sleeper.renew()
    assert sleeper.save(TailState(position=7))
    time.seconds += 60
    assert sleeper.renew()


def test_a_document_can_be_written_after_work_that_took_longer_than_the_lease(store: MemoryStore, time: Time) -> None:
    """Else a slow machine would begin from the start after each large batch, and never end."""
    one, two = lease(store, time, "one"), lease(store, time, "two")
    assert one.renew()
    assert one.save(TailState(polled_until=1))
    time.seconds += 60
    assert one.save(TailState(polled_until=2))
    assert one.renew()
    assert one.terms == 1
    assert not two.renew()


@pytest.mark.parametrize("released", [False, True])
def test_it_can_not_where_another_worked_meanwhile(store: MemoryStore, time: Time, released: bool) -> None:
    one, two = lease(store, time, "one"), lease(store, time, "two")
    assert one.renew()
    assert one.save(TailState(polled_until=1))
    time.seconds += 60
    assert two.renew()
    assert two.save(TailState(polled_until=3))
    if released:
        two.release()
    assert not one.save(TailState(polled_until=2))
    found = two.load()
    assert found is not None
    assert found.polled_until == 3


def test_a_ceiling_that_could_not_be_written_reserves_nothing(
    store: MemoryStore, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = lease(store, time, "one")
    assert one.renew()
    session = LeaseTerm(one, time.microseconds)
    handed_out = session.revisions.next()

    def away(*_: object) -> bool:
        raise StoreUnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(store, "put_document", away)
        with pytest.raises(StoreUnavailableError):
            session.reserve()
    assert session.reserve()
    found = one.load()
    assert found is not None
    assert found.ceiling >= handed_out


@pytest.mark.parametrize("document", [b"", b"\xff", b'{"positions": "many"}', b"[" * 3000])
def test_a_damaged_document_is_one_line_that_says_what_to_do(store: MemoryStore, time: Time, document: bytes) -> None:
    one = lease(store, time, "one")
    assert one.renew()
    assert store.put_document(TAIL, "one", document)
    for read in (one.load, lambda: observe(store), lambda: time_of_reading(store, 0)):
        with pytest.raises(OperatorError, match=r"^the document sis:\{tail\}:document .* is damaged .*: delete it"):
            read()

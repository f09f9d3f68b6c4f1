"""Leases, documents and the clock, on every implementation of `projections.store.protocol.Store`."""

from projections.store.protocol import Store
from support.stores import (
    NEVER,
    Bench,
)


def test_a_lease_has_one_holder(store: Store) -> None:
    assert store.lease("relay", "a", NEVER)
    assert not store.lease("relay", "b", NEVER)
    assert store.lease("relay", "a", NEVER)
    assert store.lease("other", "b", NEVER)


def test_a_lease_that_ran_out_or_was_given_up_is_free(bench: Bench, store: Store) -> None:
    assert store.lease("relay", "a", 0.001)
    bench.wait(0.003)
    assert store.lease("relay", "b", NEVER)
    store.release("relay", "a")
    assert not store.lease("relay", "c", NEVER)
    store.release("relay", "b")
    assert store.lease("relay", "c", NEVER)


def test_a_document_is_written_by_the_holder_alone(bench: Bench, store: Store) -> None:
    assert store.document("relay") is None
    assert not store.put_document("relay", "a", b"early")
    store.lease("relay", "a", 0.02)
    assert store.put_document("relay", "a", b"\x00\xffmine")
    assert not store.put_document("relay", "b", b"theirs")
    bench.wait(0.03)
    assert not store.put_document("relay", "a", b"late")
    assert store.document("relay") == b"\x00\xffmine"
    assert store.document("other") is None


def test_the_clock_runs_in_microseconds(bench: Bench, store: Store) -> None:
    before = store.clock()
    bench.wait(0.002)
    assert 2_000 <= store.clock() - before < 60_000_000
    assert before > 1_600_000_000_000_000


def test_whether_anybody_holds_a_lease(bench: Bench, store: Store) -> None:
    assert not store.leased("relay")
    store.lease("relay", "a", NEVER)
    assert store.leased("relay")
    store.release("relay", "a")
    assert not store.leased("relay")
    store.lease("relay", "b", 0.001)
    bench.wait(0.003)
    assert not store.leased("relay")


def test_what_processes_say_of_themselves_is_kept_for_a_time(bench: Bench, store: Store) -> None:
    assert store.processes() == {}
    store.describe_process("a", b"first", NEVER)
    before = store.clock()
    store.describe_process("a", b"second \x00\xff", NEVER)
    store.describe_process("b", b"brief", 0.001)
    bench.wait(0.003)
    found = store.processes()
    assert {name: one.value for name, one in found.items()} == {"a": b"second \x00\xff"}
    assert before <= found["a"].time <= store.clock()
    store.describe_process("c", b"more", NEVER)
    store.describe_process("a", b"", NEVER)
    store.describe_process("a", b"", NEVER)
    assert store.processes().keys() == {"c"}

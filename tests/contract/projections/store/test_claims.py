"""Claims, on every implementation of the store: taken, settled, given back, taken over, forced."""

import pytest

from projections.profile_key import BUCKETS, ProfileKey, bucket_of
from projections.store.protocol import ABSENT, Announced, Claim, Published, Settlement, Store
from support.stores import (
    ANN,
    BEN,
    BUCKET,
    CEM,
    FOLDER,
    NEVER,
    NOW,
    Bench,
    claim,
    keys,
    save,
    settlement,
    write,
)


def test_a_claim_keeps_others_away_until_it_ends(bench: Bench, store: Store) -> None:
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    assert claim(store, FOLDER, seconds=0.001, who="first") == [Claim(ANN, forced=False, taken_over=False)]
    bench.wait(0.003)
    assert claim(store, FOLDER, who="second") == [Claim(ANN, forced=False, taken_over=True)]
    assert claim(store, FOLDER, who="third") == []


def test_a_claim_is_due_when_it_ends(store: Store) -> None:
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    began = store.clock()
    assert store.count_due(FOLDER.id) == 1
    claim(store, FOLDER, seconds=NEVER)
    assert store.count_due(FOLDER.id) == 0
    (end,) = [at for at in store.next_due(FOLDER.id) if at is not None]
    assert began - 1000 <= end - NEVER * 1e6 <= store.clock()


def test_a_change_during_a_claim_waits_for_it(store: Store) -> None:
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    (mine,) = claim(store, FOLDER, who="first")
    save(store, write(ANN, b"one", b"two"))
    assert claim(store, FOLDER, who="second") == []
    store.settle(FOLDER.id, "first", [settlement(mine, b"one", "hash")], NEVER)
    assert claim(store, FOLDER, who="third") == [Claim(ANN, forced=False, taken_over=False)]


def test_a_settled_profile_that_is_still_the_one_read_is_done(store: Store) -> None:
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    (mine,) = claim(store, FOLDER)
    save(store, write(ANN, b"one", b"two"))
    assert store.read(FOLDER.id, [mine])[0].version == b"two"
    store.settle(FOLDER.id, "claim", [settlement(mine, b"two", "hash")], NEVER)
    assert store.next_due(FOLDER.id) == [None] * BUCKETS


def test_a_settled_profile_that_moved_is_due_after_the_debounce(bench: Bench) -> None:
    store = bench.open(NEVER)
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one", dirty=False))
    store.force(FOLDER.id, [ANN])
    (mine,) = claim(store, FOLDER)
    save(store, write(ANN, b"one", b"two", dirty=False))
    began = store.clock()
    store.settle(FOLDER.id, "claim", [settlement(mine, b"one", "hash")], NOW)
    due = store.next_due(FOLDER.id)[BUCKET]
    assert due is not None
    assert began - 1000 <= due - NEVER * 1e6 <= store.clock()
    store.close()


def test_a_taken_over_claim_is_flushed_once_more_after_one_more_lease(bench: Bench, store: Store) -> None:
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    claim(store, FOLDER, seconds=0.001, who="paused")
    bench.wait(0.003)
    (mine,) = claim(store, FOLDER, who="second")
    before = store.clock()
    store.settle(FOLDER.id, "second", [settlement(mine, b"one", "hash")], 0.005)
    (later,) = [at for at in store.next_due(FOLDER.id) if at is not None]
    assert later >= before + 5_000 - 1_000, "one more lease, on Redis in whole milliseconds"
    bench.wait(0.007)
    (again,) = claim(store, FOLDER, who="third")
    assert again == Claim(ANN, forced=True, taken_over=False)
    store.settle(FOLDER.id, "third", [settlement(again, b"one", "hash")], NOW)
    assert store.next_due(FOLDER.id) == [None] * BUCKETS


def test_a_change_soon_after_a_take_over_does_not_use_up_the_later_flush(bench: Bench, store: Store) -> None:
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    claim(store, FOLDER, seconds=0.001, who="paused")
    bench.wait(0.003)
    (mine,) = claim(store, FOLDER, who="second")
    store.settle(FOLDER.id, "second", [settlement(mine, b"one", "hash")], NEVER)
    save(store, write(ANN, b"one", b"two"))
    (soon,) = claim(store, FOLDER, who="third")
    assert soon == Claim(ANN, forced=False, taken_over=False)
    store.settle(FOLDER.id, "third", [settlement(soon, b"two", "hash")], NOW)
    later = store.next_due(FOLDER.id)[BUCKET]
    assert later is not None
    assert later > store.clock() + NEVER / 2 * 1e6


def test_a_flusher_that_lost_its_claim_settles_nothing(bench: Bench, store: Store) -> None:
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    (lost,) = claim(store, FOLDER, seconds=0.001, who="paused")
    bench.wait(0.003)
    (mine,) = claim(store, FOLDER, who="second")
    store.settle(FOLDER.id, "paused", [settlement(lost, b"one", "old", Published.ANNOUNCEMENT)], NEVER)
    store.defer(FOLDER.id, "paused", [lost], NOW)
    assert store.read(FOLDER.id, [mine])[0].settled is None
    assert claim(store, FOLDER, who="third") == []


@pytest.mark.parametrize("published", Published)
def test_what_was_published_under_a_lost_claim_is_forced_if_it_was_read_again_since(
    bench: Bench, store: Store, published: Published
) -> None:
    """Its file or its announcement may have come behind the later one."""
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    (lost,) = claim(store, FOLDER, seconds=0.001, who="paused")
    (reading,) = store.read(FOLDER.id, [lost])
    bench.wait(0.003)
    late = Settlement(lost, reading, "old", published)
    (second,) = claim(store, FOLDER, who="second")
    store.settle(FOLDER.id, "paused", [late], NEVER)
    assert claim(store, FOLDER, who="nobody") == [], "the second flusher is still to read it"
    settle(store, "second", second)
    (once_more,) = claim(store, FOLDER, who="third")
    settle(store, "third", once_more)
    store.settle(FOLDER.id, "paused", [late], NEVER)
    forced = [Claim(ANN, forced=True, taken_over=False)]
    assert claim(store, FOLDER, who="fourth") == (forced if published else [])


def settle(store: Store, who: str, one: Claim) -> None:
    (reading,) = store.read(FOLDER.id, [one])
    store.settle(FOLDER.id, who, [Settlement(one, reading, "new", Published.ANNOUNCEMENT)], NOW)


def test_a_claim_given_back_is_due_later(store: Store) -> None:
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    store.defer(FOLDER.id, "claim", claim(store, FOLDER), NEVER)
    assert claim(store, FOLDER, who="second") == []
    due = store.next_due(FOLDER.id)[BUCKET]
    assert due is not None
    assert due > store.clock() + NEVER / 2 * 1e6


def test_a_claim_given_back_is_still_what_it_was(bench: Bench, store: Store) -> None:
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"), write(BEN, ABSENT, b"one"))
    store.force(FOLDER.id, [ANN])
    claim(store, FOLDER, seconds=0.001, who="paused")
    save(store, write(CEM, ABSENT, b"one"))
    store.force(FOLDER.id, [CEM])
    bench.wait(0.003)
    taken = claim(store, FOLDER, who="second")
    expected = {Claim(ANN, False, True), Claim(BEN, False, True), Claim(CEM, True, False)}  # noqa: FBT003  the fields' order is the type's
    assert set(taken) == expected
    store.defer(FOLDER.id, "second", taken, NOW)
    assert set(claim(store, FOLDER, who="third")) == expected


def test_a_forced_profile_is_due_at_once_and_forced_once(bench: Bench) -> None:
    store = bench.open(NEVER)
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    store.force(FOLDER.id, [ANN, BEN])
    taken = claim(store, FOLDER)
    assert sorted(taken) == [Claim(ANN, forced=True, taken_over=False), Claim(BEN, forced=True, taken_over=False)]
    store.settle(FOLDER.id, "claim", [settlement(one, b"one", "hash") for one in taken], NOW)
    store.force(FOLDER.id, [])
    save(store, write(ANN, b"one", b"two"))
    assert claim(store, FOLDER, who="second") == []
    store.close()


def test_what_is_forced_during_a_claim_is_not_forgotten(store: Store) -> None:
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    (mine,) = claim(store, FOLDER, who="first")
    store.force(FOLDER.id, [ANN])
    assert claim(store, FOLDER, who="meanwhile") == []
    store.settle(FOLDER.id, "first", [settlement(mine, b"one", "hash")], NEVER)
    assert claim(store, FOLDER, who="second") == [Claim(ANN, forced=True, taken_over=False)]


def test_a_profile_to_recheck_is_due_at_once_and_its_file_unknown(store: Store) -> None:
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    (mine,) = claim(store, FOLDER)
    store.settle(FOLDER.id, "claim", [settlement(mine, b"one", "hash", Published.ANNOUNCEMENT)], NEVER)
    store.recheck(FOLDER.id, [ANN])
    (again,) = claim(store, FOLDER, who="second")
    assert again == Claim(ANN, forced=False, taken_over=False)
    (reading,) = store.read(FOLDER.id, [again])
    assert (reading.settled, reading.announced) == (None, Announced("hash", 0))


def test_what_is_rechecked_during_a_claim_is_not_forgotten(store: Store) -> None:
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    (mine,) = claim(store, FOLDER, who="first")
    store.recheck(FOLDER.id, [ANN])
    store.settle(FOLDER.id, "first", [settlement(mine, b"one", "hash")], NEVER)
    assert claim(store, FOLDER, who="second") == [Claim(ANN, forced=True, taken_over=False)]


def test_the_longest_due_come_first_and_a_bucket_gives_no_more_than_asked(bench: Bench, store: Store) -> None:
    store.add_folder(FOLDER)
    people = [ProfileKey(1, f"group {number}") for number in (3, 1, 2, 0)]
    for key in people:
        save(store, write(key, ABSENT, b"one"))
        bench.wait(0.002)
    save(store, write(CEM, ABSENT, b"one"))
    taken = store.claim(FOLDER.id, [BUCKET, bucket_of(2)], 2, NEVER, "first")
    assert keys(taken) == {*people[:2], CEM}
    assert keys(store.claim(FOLDER.id, [BUCKET], 2, NEVER, "second")) == set(people[2:])
    assert store.claim(FOLDER.id, [], 2, NEVER, "third") == []


def test_a_settlement_that_arrives_twice_leaves_the_next_claim_alone(store: Store) -> None:
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    (first,) = claim(store, FOLDER, who="first")
    (reading,) = store.read(FOLDER.id, [first])
    sent = Settlement(first, reading, "hash 1", Published.ANNOUNCEMENT)
    store.settle(FOLDER.id, "first", [sent], NEVER)
    save(store, write(ANN, b"one", b"two"))
    (second,) = claim(store, FOLDER, who="second")
    store.settle(FOLDER.id, "first", [sent._replace(hash="late")], NEVER)
    (after,) = store.read(FOLDER.id, [second])
    assert (after.settled, after.announced) == ("hash 1", Announced("hash 1", reading.sequence))
    assert claim(store, FOLDER, who="third") == []
    store.settle(FOLDER.id, "second", [Settlement(second, after, "hash 2", Published.ANNOUNCEMENT)], NEVER)
    assert store.next_due(FOLDER.id) == [None] * BUCKETS


def test_claims_given_back_twice_are_given_back_once(store: Store) -> None:
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    first = claim(store, FOLDER, who="first")
    store.defer(FOLDER.id, "first", first, NOW)
    assert keys(claim(store, FOLDER, who="second")) == {ANN}
    store.defer(FOLDER.id, "first", first, NOW)
    assert claim(store, FOLDER, who="third") == []


def test_a_claim_that_arrives_twice_takes_the_same(store: Store) -> None:
    store.add_folder(FOLDER)
    everybody = {ProfileKey(1, f"group {number}") for number in range(9)}
    save(store, *[write(key, ABSENT, b"one") for key in everybody])
    taken = store.claim(FOLDER.id, [BUCKET], 4, NEVER, "token")
    assert len(taken) == 4
    again = store.claim(FOLDER.id, [BUCKET], 4, NEVER, "token")
    assert sorted(again) == sorted(taken)
    assert keys(claim(store, FOLDER, who="rest")) == everybody - keys(taken)

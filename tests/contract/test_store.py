"""One suite for every implementation of `projections.store.Store`."""

import threading
from collections.abc import Iterator

import pytest

from projections.buckets import BUCKETS, bucket_of
from projections.profile import ProfileKey
from projections.store import (
    ABSENT,
    Claim,
    EpochError,
    Folder,
    Healing,
    HoleError,
    Mark,
    Origin,
    Save,
    Settlement,
    Store,
)
from support.stores import NEVER, NOW, Bench, claim, memory_bench, redis_bench, save, write

ANN = ProfileKey(1, "lions")
BEN = ProfileKey(1, "tigers")
CEM = ProfileKey(2, "lions")
BUCKET = bucket_of(1)
FOLDER = Folder("17ab", None)
ORIGIN = Origin({"comment-created/0": 10}, {"comment-created": "topic-1"}, "1")
HEALING = Healing({"comment-created/0": 50}, reconcile=True, reason="a restart with a cut file")
EVERYTHING = 2**63 - 1
AWKWARD = [
    "a:b",
    "a;b",
    "a=b",
    "*",
    "%2A",
    "two words",
    "line\nbreak",
    "ünï 🦁",
    "'\"\\",
    "nul\0",
    "../../etc",
    "-",
    "1:",
]


@pytest.fixture(params=["memory", "redis"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return memory_bench() if request.param == "memory" else redis_bench(request.getfixturevalue("redis_url"))


@pytest.fixture
def store(bench: Bench) -> Iterator[Store]:
    """A store in which a change is due at once."""
    opened = bench.open(NOW)
    yield opened
    opened.close()


def mark(store: Store, bucket: int = BUCKET) -> Mark:
    found = store.marks()[bucket]
    assert found is not None
    return found


def keys(claims: list[Claim]) -> set[ProfileKey]:
    return {one.key for one in claims}


# ------------------------------------------------------------------------------------------------------- versions


def test_a_profile_that_does_not_exist_has_no_version_and_no_fields(store: Store) -> None:
    assert store.load({ANN: [b"h", b"c1"]}) == {ANN: (ABSENT, {})}
    assert list(store.scan(ANN)) == []
    assert store.load({}) == {}
    assert store.save([]) == []


def test_a_save_sets_and_deletes_and_changes_the_version(store: Store) -> None:
    assert save(store, write(ANN, ABSENT, b"one", {b"h": b"\x00\xff", b"c1": b"x", b"tz": b"y"})) == []
    assert save(store, write(ANN, b"one", b"two", {b"c2": b""}, [b"tz", b"never there"])) == []
    version, fields = store.load({ANN: [b"h", b"c1", b"c2", b"tz"]})[ANN]
    assert (version, dict(fields)) == (b"two", {b"h": b"\x00\xff", b"c1": b"x", b"c2": b""})
    assert dict(store.scan(ANN)) == {b"h": b"\x00\xff", b"c1": b"x", b"c2": b""}


@pytest.mark.parametrize("expected", [ABSENT, b"older"])
def test_a_save_on_another_version_writes_nothing_of_that_profile(store: Store, expected: bytes) -> None:
    save(store, write(ANN, ABSENT, b"one", {b"h": b"1"}))
    assert save(store, write(ANN, expected, b"two", {b"h": b"2"}), write(BEN, ABSENT, b"new", {b"h": b"3"})) == [ANN]
    assert store.load({ANN: [b"h"], BEN: [b"h"]}) == {ANN: (b"one", {b"h": b"1"}), BEN: (b"new", {b"h": b"3"})}


def test_a_save_on_a_profile_that_is_gone_is_a_conflict(store: Store) -> None:
    assert save(store, write(ANN, b"one", b"two")) == [ANN]
    assert store.load({ANN: [b"h"]})[ANN].version == ABSENT
    assert store.profiles(0, EVERYTHING) == []


def test_each_save_of_a_call_has_its_own_conflicts(store: Store) -> None:
    save(store, write(CEM, ABSENT, b"one"))
    saves = [
        Save(BUCKET, [write(ANN, ABSENT, b"a")]),
        Save(bucket_of(2), [write(CEM, ABSENT, b"late")]),
        Save(BUCKET, [write(BEN, ABSENT, b"b")]),
    ]
    assert store.save(saves) == [[], [CEM], []]


def test_concurrent_writers_lose_no_update(bench: Bench) -> None:
    first = bench.open(NOW)
    save(first, write(ANN, ABSENT, b"start", {b"h": b"0"}))

    def count(name: str) -> None:
        for step in range(30):
            while True:
                version, fields = first.load({ANN: [b"h"]})[ANN]
                token = f"{name}-{step}".encode()
                if not save(first, write(ANN, version, token, {b"h": b"%d" % (int(fields[b"h"]) + 1)})):
                    break

    threads = [threading.Thread(target=count, args=(f"writer{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert first.load({ANN: [b"h"]})[ANN].fields == {b"h": b"120"}
    first.close()


# ------------------------------------------------------------------------------- what arrives twice (contract 5)


def test_a_save_that_arrives_twice_does_nothing_the_second_time(store: Store) -> None:
    store.bear(ORIGIN)
    store.register(FOLDER)
    sent = Save(
        BUCKET,
        [write(ANN, ABSENT, b"one", {b"h": b"1", b"c1": b"x"}), write(BEN, ABSENT, b"two", {b"h": b"2"})],
        0,
        {"comment-created/0": (10, 12)},
    )
    assert store.save([sent]) == [[]]
    (ann,) = [one for one in claim(store, FOLDER) if one.key == ANN]
    store.settle(FOLDER.id, "claim", [Settlement(ann, b"one", "hash", "hash")], NEVER)
    before = (mark(store), store.next_due(FOLDER.id), dict(store.scan(ANN)), dict(store.scan(BEN)))
    assert store.save([sent]) == [[]]
    assert (mark(store), store.next_due(FOLDER.id), dict(store.scan(ANN)), dict(store.scan(BEN))) == before
    assert claim(store, FOLDER, who="other") == []


def test_a_save_that_arrives_again_after_another_writer_is_a_conflict(store: Store) -> None:
    store.bear(ORIGIN)
    sent = Save(BUCKET, [write(ANN, ABSENT, b"one", {b"h": b"1"}, [b"tgone"])], 0, {"comment-created/0": (10, 12)})
    store.save([sent])
    save(store, write(ANN, b"one", b"other", {b"h": b"2", b"tgone": b"back"}))
    before = mark(store)
    assert store.save([sent]) == [[ANN]]
    assert mark(store) == before
    assert store.load({ANN: [b"h", b"tgone"]})[ANN] == (b"other", {b"h": b"2", b"tgone": b"back"})


def test_a_settlement_that_arrives_twice_leaves_the_next_claim_alone(store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    (first,) = claim(store, FOLDER, who="first")
    settlement = Settlement(first, b"one", "hash 1", "hash 1")
    store.settle(FOLDER.id, "first", [settlement], NEVER)
    save(store, write(ANN, b"one", b"two"))
    (second,) = claim(store, FOLDER, who="second")
    store.settle(FOLDER.id, "first", [settlement._replace(settled="late", announced="late")], NEVER)
    (reading,) = store.read(FOLDER.id, [second])
    assert (reading.settled, reading.announced) == ("hash 1", "hash 1")
    assert claim(store, FOLDER, who="third") == []


def test_claims_given_back_twice_are_given_back_once(store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    first = claim(store, FOLDER, who="first")
    store.defer(FOLDER.id, "first", first, NOW)
    assert keys(claim(store, FOLDER, who="second")) == {ANN}
    store.defer(FOLDER.id, "first", first, NOW)
    assert claim(store, FOLDER, who="third") == []


def test_a_claim_that_arrives_twice_takes_the_same(store: Store) -> None:
    store.register(FOLDER)
    everybody = {ProfileKey(1, f"group {number}") for number in range(9)}
    save(store, *[write(key, ABSENT, b"one") for key in everybody])
    taken = store.claim(FOLDER.id, [BUCKET], 4, NEVER, "token")
    assert len(taken) == 4
    again = store.claim(FOLDER.id, [BUCKET], 4, NEVER, "token")
    assert sorted(again) == sorted(taken)
    assert keys(claim(store, FOLDER, who="rest")) == everybody - keys(taken)


def test_an_epoch_raised_twice_rises_once(store: Store) -> None:
    store.bear(ORIGIN)
    assert store.raise_epoch(BUCKET, 0, HEALING, ORIGIN)
    assert not store.raise_epoch(BUCKET, 0, HEALING, ORIGIN)
    assert mark(store).epoch == 1


def test_a_removal_that_arrives_twice_spares_a_profile_made_anew(store: Store) -> None:
    save(store, write(ANN, ABSENT, b"one"))
    assert store.remove(ANN, b"one")
    assert store.remove(ANN, b"one")
    save(store, write(ANN, ABSENT, b"two"))
    assert not store.remove(ANN, b"one")
    assert store.load({ANN: ()})[ANN].version == b"two"


# ------------------------------------------------------------------------------------------------------ positions


def fenced(end: int, start: int = 10, epoch: int | None = 0, partition: str = "comment-created/0") -> Save:
    return Save(BUCKET, [], epoch, {partition: (start, end)})


def test_a_position_moves_with_the_data(store: Store) -> None:
    store.bear(ORIGIN)
    assert store.save([Save(BUCKET, [write(ANN, ABSENT, b"one")], 0, {"comment-created/0": (10, 12)})]) == [[]]
    assert mark(store).positions == {"comment-created/0": 12}


def test_a_position_moves_without_data_and_never_back(store: Store) -> None:
    store.bear(ORIGIN)
    store.save([fenced(20)])
    store.save([fenced(15)])
    store.save([fenced(20, start=20)])
    assert mark(store).positions == {"comment-created/0": 20}


def test_a_big_position_keeps_every_digit(store: Store) -> None:
    big = 2**53 - 1
    store.bear(ORIGIN._replace(positions={"comment-created/0": big - 1}))
    store.save([fenced(big, start=big - 1)])
    assert mark(store).positions == {"comment-created/0": big}


@pytest.mark.parametrize(("partition", "stored"), [("comment-created/0", 10), ("comment-created/1", None)])
def test_a_hole_writes_nothing(store: Store, partition: str, stored: int | None) -> None:
    store.bear(ORIGIN)
    before = mark(store)
    hole = Save(BUCKET, [write(ANN, ABSENT, b"one")], 0, {"comment-created/0": (10, 20), partition: (11, 20)})
    with pytest.raises(HoleError) as caught:
        store.save([hole])
    error = caught.value
    assert (error.bucket, error.partition, error.stored, error.demanded) == (BUCKET, partition, stored, 11)
    assert mark(store) == before
    assert store.load({ANN: [b"h"]})[ANN] == (ABSENT, {})


def test_a_bucket_without_a_mark_is_another_epoch_or_a_hole(store: Store) -> None:
    with pytest.raises(EpochError) as other:
        store.save([fenced(20)])
    assert (other.value.bucket, other.value.known, other.value.present) == (BUCKET, 0, None)
    with pytest.raises(HoleError):
        store.save([fenced(20, epoch=None)])
    assert store.marks() == [None] * BUCKETS


def test_another_epoch_writes_nothing(store: Store) -> None:
    store.bear(ORIGIN)
    store.raise_epoch(BUCKET, 0, HEALING, ORIGIN)
    with pytest.raises(EpochError) as caught:
        store.save([Save(BUCKET, [write(ANN, ABSENT, b"one")], 0, {"comment-created/0": (10, 12)})])
    assert (caught.value.known, caught.value.present) == (0, 1)
    assert store.load({ANN: [b"h"]})[ANN] == (ABSENT, {})
    assert mark(store).positions == {"comment-created/0": 10}


def test_no_position_moves_while_a_profile_conflicts_and_the_retry_moves_it(store: Store) -> None:
    store.bear(ORIGIN)
    save(store, write(ANN, ABSENT, b"theirs"))
    writes = [write(BEN, ABSENT, b"two"), write(ANN, ABSENT, b"mine")]
    assert store.save([Save(BUCKET, writes, 0, {"comment-created/0": (10, 12)})]) == [[ANN]]
    assert mark(store).positions == {"comment-created/0": 10}
    assert store.load({BEN: ()})[BEN].version == b"two"
    retry = Save(BUCKET, [write(ANN, b"theirs", b"mine")], 0, {"comment-created/0": (10, 12)})
    assert store.save([retry]) == [[]]
    assert mark(store).positions == {"comment-created/0": 12}


def test_thousands_of_partitions_fit_into_one_save(store: Store) -> None:
    store.bear(Origin({f"comment-created/{number}": 0 for number in range(9_000)}, {}, "1"))
    store.save([Save(BUCKET, [], 0, {f"comment-created/{number}": (0, number) for number in range(9_000)})])
    assert mark(store).positions == {f"comment-created/{number}": number for number in range(9_000)}


def test_writes_are_counted_and_calls_that_write_nothing_are_not(store: Store) -> None:
    store.bear(ORIGIN)
    counts = [mark(store).writes]

    def grown() -> bool:
        counts.append(mark(store).writes)
        return counts[-1] > counts[-2]

    save(store, write(ANN, ABSENT, b"one"))
    assert grown()
    save(store, write(ANN, ABSENT, b"conflict"))
    assert not grown()
    save(store, write(ANN, b"one", b"two", dirty=False))
    assert grown()
    store.save([fenced(11)])
    assert grown()
    store.save([fenced(11)])
    assert not grown()
    store.raise_epoch(BUCKET, 0, HEALING, ORIGIN)
    assert grown()
    store.remove(ANN, b"two")
    assert grown()


# ---------------------------------------------------------------------------------------------------------- marks


def test_all_buckets_are_born_with_positions(store: Store) -> None:
    assert store.marks() == [None] * BUCKETS
    store.bear(ORIGIN)
    for found in store.marks():
        assert found is not None
        assert found.birth
        assert (found.epoch, found.meaning, found.healing) == (0, "1", None)
        assert (found.positions, found.topic_ids) == (ORIGIN.positions, ORIGIN.topic_ids)


def test_a_born_bucket_learns_only_what_it_lacks(store: Store) -> None:
    store.bear(ORIGIN)
    store.save([fenced(12)])
    birth = mark(store).birth
    new = {"comment-created/0": 0, "comment-created/1": 7}
    store.bear(Origin(new, {"comment-created": "other", "insight-created": "i"}, "2"))
    assert mark(store).positions == {"comment-created/0": 12, "comment-created/1": 7}
    assert mark(store).topic_ids == {"comment-created": "topic-1", "insight-created": "i"}
    assert (mark(store).birth, mark(store).meaning) == (birth, "1")


def test_a_new_epoch_replaces_positions_and_says_what_healing_means(store: Store) -> None:
    store.bear(ORIGIN)
    store.save([fenced(40)])
    birth = mark(store).birth
    assert store.raise_epoch(BUCKET, 0, HEALING, Origin({"comment-created/0": 3}, {"comment-created": "new"}, "2"))
    found = mark(store)
    assert (found.epoch, found.meaning, found.healing, found.birth) == (1, "2", HEALING, birth)
    assert (found.positions, found.topic_ids) == ({"comment-created/0": 3}, {"comment-created": "new"})


@pytest.mark.parametrize("seen", [None, 1, 7])
def test_an_epoch_rises_only_from_the_one_seen(store: Store, seen: int | None) -> None:
    store.bear(ORIGIN)
    before = mark(store)
    assert not store.raise_epoch(BUCKET, seen, HEALING, ORIGIN)
    assert mark(store) == before


def test_a_lost_mark_is_made_anew_by_whoever_sees_it_first(store: Store) -> None:
    assert not store.raise_epoch(BUCKET, 0, HEALING, ORIGIN)
    assert store.raise_epoch(BUCKET, None, HEALING, ORIGIN)
    assert not store.raise_epoch(BUCKET, None, HEALING, ORIGIN)
    assert (mark(store).epoch, mark(store).positions) == (1, ORIGIN.positions)
    assert mark(store).birth


def test_healing_ends_only_in_the_epoch_it_belongs_to(store: Store) -> None:
    store.bear(ORIGIN)
    store.raise_epoch(BUCKET, 0, HEALING, ORIGIN)
    less = Healing(HEALING.ends, reconcile=False, reason=HEALING.reason)
    assert not store.heal(BUCKET, 0, None)
    assert mark(store).healing == HEALING
    assert store.heal(BUCKET, 1, less)
    assert mark(store).healing == less
    assert store.heal(BUCKET, 1, None)
    assert mark(store).healing is None
    assert store.heal(BUCKET, 1, less)
    assert mark(store).healing is None, "what is healed stays healed"
    assert not store.heal(bucket_of(2), 1, None)


def test_nothing_is_claimed_of_a_bucket_that_heals(store: Store) -> None:
    store.bear(ORIGIN)
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    save(store, write(CEM, ABSENT, b"one"))
    store.raise_epoch(BUCKET, 0, HEALING, ORIGIN)
    assert keys(claim(store, FOLDER, who="first")) == {CEM}
    store.heal(BUCKET, 1, None)
    assert keys(claim(store, FOLDER, who="second")) == {ANN}


# --------------------------------------------------------------------------------------------- folders and due times


def test_a_new_folder_has_everything_due_and_is_new_once(store: Store) -> None:
    save(store, write(ANN, ABSENT, b"one"), write(BEN, ABSENT, b"one", dirty=False))
    save(store, write(CEM, ABSENT, b"one"))
    assert store.register(FOLDER)
    assert keys(claim(store, FOLDER)) == {ANN, BEN, CEM}
    assert not store.register(FOLDER)
    assert claim(store, FOLDER, who="other") == []


def test_a_folder_whose_id_ends_like_another_is_another(store: Store) -> None:
    save(store, write(ANN, ABSENT, b"one"))
    assert store.register(Folder("a17", None))
    assert store.register(Folder("17", None))
    assert store.register(Folder("7", None))
    assert keys(claim(store, Folder("17", None))) == {ANN}
    assert keys(claim(store, Folder("7", None))) == {ANN}


@pytest.mark.parametrize("slug", AWKWARD)
def test_a_folder_with_a_scope_is_about_its_group_alone(store: Store, slug: str) -> None:
    inside, outside, later = ProfileKey(1, slug), ProfileKey(1, slug + "x"), ProfileKey(2, slug)
    save(store, write(inside, ABSENT, b"one"), write(outside, ABSENT, b"one"))
    folder, other = Folder("17ab=;", slug), Folder("2c", None)
    assert store.register(folder)
    assert store.register(other)
    assert not store.register(folder)
    save(store, write(later, ABSENT, b"one"), write(ProfileKey(2, "x"), ABSENT, b"one"))
    assert keys(claim(store, folder)) == {inside, later}
    assert keys(claim(store, other)) == {inside, outside, later, ProfileKey(2, "x")}
    assert store.profiles(0, 1) == sorted([inside, outside])


def test_a_folder_nobody_registered_has_nothing_due(store: Store) -> None:
    save(store, write(ANN, ABSENT, b"one"))
    assert store.next_due("unknown") == [None] * BUCKETS
    assert claim(store, Folder("unknown", None)) == []


def test_a_change_is_due_after_the_debounce_counted_from_the_first(bench: Bench) -> None:
    store = bench.open(NEVER)
    store.register(FOLDER)
    began = store.clock()
    save(store, write(ANN, ABSENT, b"one"))
    ended = store.clock()
    (due,) = [at for at in store.next_due(FOLDER.id) if at is not None]
    assert store.next_due(FOLDER.id)[BUCKET] == due
    assert began - 1000 <= due - NEVER * 1e6 <= ended
    bench.wait(0.002)
    save(store, write(ANN, b"one", b"two"))
    assert store.next_due(FOLDER.id)[BUCKET] == due, "a busy profile would starve"
    assert claim(store, FOLDER) == []
    store.close()


def test_a_change_that_shows_nothing_new_makes_nothing_due(store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one", dirty=False))
    assert store.next_due(FOLDER.id) == [None] * BUCKETS


def test_folders_know_nothing_of_each_other(store: Store) -> None:
    other = Folder("2c", None)
    store.register(FOLDER)
    store.register(other)
    save(store, write(ANN, ABSENT, b"one"))
    (mine,) = claim(store, FOLDER)
    store.settle(FOLDER.id, "claim", [Settlement(mine, b"one", "hash", None)], NEVER)
    (theirs,) = claim(store, other)
    assert store.read(other.id, [theirs])[0].settled is None
    assert store.settled(FOLDER.id, [ANN, BEN]) == ["hash", None]
    assert store.settled(other.id, [ANN]) == [None]


# ---------------------------------------------------------------------------------------------------------- claims


def test_a_claim_keeps_others_away_until_it_ends(bench: Bench, store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    assert claim(store, FOLDER, seconds=0.001, who="first") == [Claim(ANN, forced=False, taken_over=False)]
    bench.wait(0.003)
    assert claim(store, FOLDER, who="second") == [Claim(ANN, forced=False, taken_over=True)]
    assert claim(store, FOLDER, who="third") == []


def test_a_claim_is_due_when_it_ends(store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    began = store.clock()
    claim(store, FOLDER, seconds=NEVER)
    (end,) = [at for at in store.next_due(FOLDER.id) if at is not None]
    assert began - 1000 <= end - NEVER * 1e6 <= store.clock()


def test_a_change_during_a_claim_waits_for_it(store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    (mine,) = claim(store, FOLDER, who="first")
    save(store, write(ANN, b"one", b"two"))
    assert claim(store, FOLDER, who="second") == []
    store.settle(FOLDER.id, "first", [Settlement(mine, b"one", "hash", None)], NEVER)
    assert claim(store, FOLDER, who="third") == [Claim(ANN, forced=False, taken_over=False)]


def test_a_settled_profile_that_is_still_the_one_read_is_done(store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    (mine,) = claim(store, FOLDER)
    save(store, write(ANN, b"one", b"two"))
    assert store.read(FOLDER.id, [mine])[0].version == b"two"
    store.settle(FOLDER.id, "claim", [Settlement(mine, b"two", "hash", None)], NEVER)
    assert store.next_due(FOLDER.id) == [None] * BUCKETS


def test_a_settled_profile_that_moved_is_due_after_the_debounce(bench: Bench) -> None:
    store = bench.open(NEVER)
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one", dirty=False))
    store.force(FOLDER.id, [ANN])
    (mine,) = claim(store, FOLDER)
    save(store, write(ANN, b"one", b"two", dirty=False))
    began = store.clock()
    store.settle(FOLDER.id, "claim", [Settlement(mine, b"one", "hash", None)], NOW)
    due = store.next_due(FOLDER.id)[BUCKET]
    assert due is not None
    assert began - 1000 <= due - NEVER * 1e6 <= store.clock()
    store.close()


def test_a_taken_over_claim_is_flushed_once_more_after_one_more_lease(bench: Bench, store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    claim(store, FOLDER, seconds=0.001, who="paused")
    bench.wait(0.003)
    (mine,) = claim(store, FOLDER, who="second")
    store.settle(FOLDER.id, "second", [Settlement(mine, b"one", "hash", None)], 0.005)
    (later,) = [at for at in store.next_due(FOLDER.id) if at is not None]
    assert later > store.clock() - 20_000
    bench.wait(0.007)
    (again,) = claim(store, FOLDER, who="third")
    assert again == Claim(ANN, forced=True, taken_over=False)
    store.settle(FOLDER.id, "third", [Settlement(again, b"one", "hash", None)], NOW)
    assert store.next_due(FOLDER.id) == [None] * BUCKETS


def test_a_change_soon_after_a_take_over_does_not_use_up_the_later_flush(bench: Bench, store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    claim(store, FOLDER, seconds=0.001, who="paused")
    bench.wait(0.003)
    (mine,) = claim(store, FOLDER, who="second")
    store.settle(FOLDER.id, "second", [Settlement(mine, b"one", "hash", None)], NEVER)
    save(store, write(ANN, b"one", b"two"))
    (soon,) = claim(store, FOLDER, who="third")
    assert soon == Claim(ANN, forced=False, taken_over=False)
    store.settle(FOLDER.id, "third", [Settlement(soon, b"two", "hash", None)], NOW)
    later = store.next_due(FOLDER.id)[BUCKET]
    assert later is not None
    assert later > store.clock() + NEVER / 2 * 1e6


def test_a_flusher_that_lost_its_claim_settles_nothing(bench: Bench, store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    (lost,) = claim(store, FOLDER, seconds=0.001, who="paused")
    bench.wait(0.003)
    (mine,) = claim(store, FOLDER, who="second")
    store.settle(FOLDER.id, "paused", [Settlement(lost, b"one", "old", "old")], NEVER)
    store.defer(FOLDER.id, "paused", [lost], NOW)
    assert store.read(FOLDER.id, [mine])[0].settled is None
    assert claim(store, FOLDER, who="third") == []


def test_a_claim_given_back_is_due_later(store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    store.defer(FOLDER.id, "claim", claim(store, FOLDER), NEVER)
    assert claim(store, FOLDER, who="second") == []
    due = store.next_due(FOLDER.id)[BUCKET]
    assert due is not None
    assert due > store.clock() + NEVER / 2 * 1e6


def test_a_claim_given_back_is_still_what_it_was(bench: Bench, store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"), write(BEN, ABSENT, b"one"))
    store.force(FOLDER.id, [ANN])
    claim(store, FOLDER, seconds=0.001, who="paused")
    save(store, write(CEM, ABSENT, b"one"))
    store.force(FOLDER.id, [CEM])
    bench.wait(0.003)
    taken = claim(store, FOLDER, who="second")
    wanted = {Claim(ANN, False, True), Claim(BEN, False, True), Claim(CEM, True, False)}  # noqa: FBT003  the fields' order is the type's
    assert set(taken) == wanted
    store.defer(FOLDER.id, "second", taken, NOW)
    assert set(claim(store, FOLDER, who="third")) == wanted


def test_a_forced_profile_is_due_at_once_and_forced_once(bench: Bench) -> None:
    store = bench.open(NEVER)
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    store.force(FOLDER.id, [ANN, BEN])
    taken = claim(store, FOLDER)
    assert sorted(taken) == [Claim(ANN, forced=True, taken_over=False), Claim(BEN, forced=True, taken_over=False)]
    store.settle(FOLDER.id, "claim", [Settlement(one, b"one", "hash", None) for one in taken], NOW)
    store.force(FOLDER.id, [])
    save(store, write(ANN, b"one", b"two"))
    assert claim(store, FOLDER, who="second") == []
    store.close()


def test_what_is_forced_during_a_claim_is_not_forgotten(store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    (mine,) = claim(store, FOLDER, who="first")
    store.force(FOLDER.id, [ANN])
    assert claim(store, FOLDER, who="meanwhile") == []
    store.settle(FOLDER.id, "first", [Settlement(mine, b"one", "hash", None)], NEVER)
    assert claim(store, FOLDER, who="second") == [Claim(ANN, forced=True, taken_over=False)]


def test_a_profile_to_recheck_is_due_at_once_and_its_file_unknown(store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    (mine,) = claim(store, FOLDER)
    store.settle(FOLDER.id, "claim", [Settlement(mine, b"one", "hash", "hash")], NEVER)
    store.recheck(FOLDER.id, [ANN])
    (again,) = claim(store, FOLDER, who="second")
    assert again == Claim(ANN, forced=False, taken_over=False)
    (reading,) = store.read(FOLDER.id, [again])
    assert (reading.settled, reading.announced) == (None, "hash")


def test_what_is_rechecked_during_a_claim_is_not_forgotten(store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    (mine,) = claim(store, FOLDER, who="first")
    store.recheck(FOLDER.id, [ANN])
    store.settle(FOLDER.id, "first", [Settlement(mine, b"one", "hash", None)], NEVER)
    assert claim(store, FOLDER, who="second") == [Claim(ANN, forced=True, taken_over=False)]


def test_the_longest_due_come_first_and_a_bucket_gives_no_more_than_asked(bench: Bench, store: Store) -> None:
    store.register(FOLDER)
    people = [ProfileKey(1, f"group {number}") for number in (3, 1, 2, 0)]
    for key in people:
        save(store, write(key, ABSENT, b"one"))
        bench.wait(0.002)
    save(store, write(CEM, ABSENT, b"one"))
    taken = store.claim(FOLDER.id, [BUCKET, bucket_of(2)], 2, NEVER, "first")
    assert keys(taken) == {*people[:2], CEM}
    assert keys(store.claim(FOLDER.id, [BUCKET], 2, NEVER, "second")) == set(people[2:])
    assert store.claim(FOLDER.id, [], 2, NEVER, "third") == []


# --------------------------------------------------------------------------------------------------------- readings


def test_a_reading_says_what_is_known(store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one", {b"h": b"head"}))
    store.force(FOLDER.id, [CEM])
    ann, cem = sorted(claim(store, FOLDER))
    first, absent = store.read(FOLDER.id, [ann, cem])
    assert (first.version, first.head, first.settled, first.announced) == (b"one", b"head", None, None)
    assert (absent.version, absent.head) == (ABSENT, None)
    store.settle(FOLDER.id, "claim", [Settlement(ann, b"one", "hash", "told"), Settlement(cem, ABSENT, "", "")], NOW)
    store.force(FOLDER.id, [ANN, CEM])
    second, nothing = store.read(FOLDER.id, sorted(claim(store, FOLDER, who="second")))
    assert (second.settled, second.announced, nothing.settled, nothing.announced) == ("hash", "told", "", "")
    assert store.read(FOLDER.id, []) == []


def test_a_settlement_without_an_announcement_leaves_what_was_announced(store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    (mine,) = claim(store, FOLDER)
    store.settle(FOLDER.id, "claim", [Settlement(mine, b"one", "hash 1", "told")], NOW)
    store.force(FOLDER.id, [ANN])
    (mine,) = claim(store, FOLDER, who="second")
    store.settle(FOLDER.id, "second", [Settlement(mine, b"one", "hash 2", None)], NOW)
    (reading,) = store.read(FOLDER.id, [mine])
    assert (reading.settled, reading.announced) == ("hash 2", "told")


def test_who_was_told_nothing_is_noted_by_the_first_reading(store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    mine = claim(store, FOLDER)
    assert [store.read(FOLDER.id, mine)[0].announced for _ in range(2)] == [None, ""]


def test_sequences_only_grow_and_follow_the_clock(store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    mine = claim(store, FOLDER)
    began = store.clock()
    sequences = [store.read(FOLDER.id, mine)[0].sequence for _ in range(20)]
    assert sequences == sorted(set(sequences))
    assert sequences[0] >= began


# ------------------------------------------------------------------------------------------------- leases, documents


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


# ------------------------------------------------------------------------------------------------ profiles, extremes


@pytest.mark.parametrize("users", [[0, 1, 2, 3], [2**53 - 1, 2**53, 2**53 + 1, 2**53 + 2], [2**63 - 2, 2**63 - 1]])
def test_profiles_are_listed_by_exact_user_ids(store: Store, users: list[int]) -> None:
    for user in users:
        for slug in ("b", "a"):
            save(store, write(ProfileKey(user, slug), ABSENT, b"one"))
    assert store.profiles(0, EVERYTHING) == [ProfileKey(user, slug) for user in users for slug in "ab"]
    for user in users:
        assert store.profiles(user, user) == [ProfileKey(user, "a"), ProfileKey(user, "b")]
    assert store.profiles(users[1], users[0]) == []


@pytest.mark.parametrize("slug", AWKWARD)
def test_any_slug_names_a_profile(store: Store, slug: str) -> None:
    key = ProfileKey(2**63 - 1, slug)
    store.register(FOLDER)
    save(store, write(key, ABSENT, b"one", {b"h": slug.encode()}))
    (mine,) = claim(store, FOLDER)
    assert mine.key == key
    assert store.read(FOLDER.id, [mine])[0].head == slug.encode()
    assert store.profiles(0, EVERYTHING) == [key]
    assert store.remove(key, b"one")
    assert store.profiles(0, EVERYTHING) == []


def test_a_removed_profile_is_forgotten_wholly(store: Store) -> None:
    store.register(FOLDER)
    save(store, write(ANN, ABSENT, b"one"), write(BEN, ABSENT, b"one"))
    (ann, ben) = sorted(claim(store, FOLDER))
    store.settle(FOLDER.id, "claim", [Settlement(ann, b"one", "hash", "hash")], NOW)
    store.force(FOLDER.id, [ANN])
    assert not store.remove(ANN, b"other")
    assert store.remove(ANN, b"one")
    assert store.remove(BEN, b"one")
    assert store.next_due(FOLDER.id) == [None] * BUCKETS
    assert claim(store, FOLDER, who="second") == []
    store.defer(FOLDER.id, "claim", [ben], NOW)
    assert claim(store, FOLDER, who="third") == []
    assert store.settled(FOLDER.id, [ANN]) == [None]
    assert store.profiles(0, EVERYTHING) == []
    save(store, write(ANN, ABSENT, b"new", {b"c1": b""}))
    (again,) = claim(store, FOLDER, who="fourth")
    reading = store.read(FOLDER.id, [again])[0]
    assert (reading.head, reading.settled, reading.announced) == (None, None, None)


def test_a_save_of_a_hundred_thousand_fields(store: Store) -> None:
    fields = {b"t%d" % number: b"%d" % number for number in range(100_000)}
    assert save(store, write(ANN, ABSENT, b"one", fields)) == []
    assert dict(store.scan(ANN)) == fields
    found = store.load({ANN: list(fields)})[ANN]
    assert (found.version, dict(found.fields)) == (b"one", fields)
    assert save(store, write(ANN, b"one", b"two", {b"h": b"x"}, list(fields))) == []
    assert dict(store.scan(ANN)) == {b"h": b"x"}


def test_thousands_of_profiles_in_one_call(store: Store) -> None:
    store.register(FOLDER)
    people = [ProfileKey(1, f"group {number}") for number in range(3_000)]
    assert save(store, *[write(key, ABSENT, b"one") for key in people]) == []
    taken = store.claim(FOLDER.id, [BUCKET], 3_000, NEVER, "token")
    assert keys(taken) == set(people)
    assert len(store.read(FOLDER.id, taken)) == 3_000
    store.settle(FOLDER.id, "token", [Settlement(one, b"one", "hash", "hash") for one in taken], NOW)
    assert store.next_due(FOLDER.id) == [None] * BUCKETS
    assert store.settled(FOLDER.id, people) == ["hash"] * 3_000

"""What is due in a folder and what is read of it, on every implementation of `projections.store.protocol.Store`."""

import pytest

from projections.profile_key import BUCKETS, ProfileKey
from projections.store.protocol import ABSENT, Folder, Settlement, Store
from support.stores import (
    ANN,
    AWKWARD,
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
    write,
)


def test_a_new_folder_has_everything_due_and_is_new_once(store: Store) -> None:
    save(store, write(ANN, ABSENT, b"one"), write(BEN, ABSENT, b"one", dirty=False))
    save(store, write(CEM, ABSENT, b"one"))
    assert store.add_folder(FOLDER)
    assert keys(claim(store, FOLDER)) == {ANN, BEN, CEM}
    assert not store.add_folder(FOLDER)
    assert claim(store, FOLDER, who="other") == []


def test_a_folder_whose_id_ends_like_another_is_another(store: Store) -> None:
    save(store, write(ANN, ABSENT, b"one"))
    assert store.add_folder(Folder("a17", None))
    assert store.add_folder(Folder("17", None))
    assert store.add_folder(Folder("7", None))
    assert keys(claim(store, Folder("17", None))) == {ANN}
    assert keys(claim(store, Folder("7", None))) == {ANN}


@pytest.mark.parametrize("slug", AWKWARD)
def test_a_folder_with_a_scope_is_about_its_group_alone(store: Store, slug: str) -> None:
    inside, outside, later = ProfileKey(1, slug), ProfileKey(1, slug + "x"), ProfileKey(2, slug)
    save(store, write(inside, ABSENT, b"one"), write(outside, ABSENT, b"one"))
    folder, other = Folder("17ab=;", slug), Folder("2c", None)
    assert store.add_folder(folder)
    assert store.add_folder(other)
    assert not store.add_folder(folder)
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
    store.add_folder(FOLDER)
    began = store.clock()
    save(store, write(ANN, ABSENT, b"one"))
    ended = store.clock()
    (due,) = [at for at in store.next_due(FOLDER.id) if at is not None]
    assert store.next_due(FOLDER.id)[BUCKET] == due
    assert began - 1000 <= due - NEVER * 1e6 <= ended
    bench.wait(0.002)
    save(store, write(ANN, b"one", b"two"))
    assert store.next_due(FOLDER.id)[BUCKET] == due, "a busy profile would starve"
    assert store.count_due(FOLDER.id) == 1
    assert claim(store, FOLDER) == []
    store.close()


def test_a_change_that_shows_nothing_new_makes_nothing_due(store: Store) -> None:
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one", dirty=False))
    assert store.next_due(FOLDER.id) == [None] * BUCKETS


def test_folders_know_nothing_of_each_other(store: Store) -> None:
    other = Folder("2c", None)
    store.add_folder(FOLDER)
    store.add_folder(other)
    save(store, write(ANN, ABSENT, b"one"))
    (mine,) = claim(store, FOLDER)
    store.settle(FOLDER.id, "claim", [Settlement(mine, b"one", "hash", None)], NEVER)
    (theirs,) = claim(store, other)
    assert store.read(other.id, [theirs])[0].settled is None
    assert store.settled(FOLDER.id, [ANN, BEN]) == ["hash", None]
    assert store.settled(other.id, [ANN]) == [None]


def test_a_reading_says_what_is_known(store: Store) -> None:
    store.add_folder(FOLDER)
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
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    (mine,) = claim(store, FOLDER)
    store.settle(FOLDER.id, "claim", [Settlement(mine, b"one", "hash 1", "told")], NOW)
    store.force(FOLDER.id, [ANN])
    (mine,) = claim(store, FOLDER, who="second")
    store.settle(FOLDER.id, "second", [Settlement(mine, b"one", "hash 2", None)], NOW)
    (reading,) = store.read(FOLDER.id, [mine])
    assert (reading.settled, reading.announced) == ("hash 2", "told")


def test_an_announcement_with_a_lower_sequence_leaves_the_later_one(store: Store) -> None:
    other = Folder("2c", None)
    store.add_folder(FOLDER)
    store.add_folder(other)
    save(store, write(ANN, ABSENT, b"one"))
    (mine,), (theirs,) = claim(store, FOLDER), claim(store, other)
    early, late = store.read(FOLDER.id, [mine])[0].sequence, store.read(other.id, [theirs])[0].sequence
    store.settle(other.id, "claim", [Settlement(theirs, b"one", "late", "late", late)], NOW)
    store.settle(FOLDER.id, "claim", [Settlement(mine, b"one", "early", "early", early)], NOW)
    (reading,) = store.read(FOLDER.id, [mine])
    assert (reading.settled, reading.announced) == ("early", "late")


def test_who_was_told_nothing_is_noted_by_the_first_reading(store: Store) -> None:
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    mine = claim(store, FOLDER)
    assert [store.read(FOLDER.id, mine)[0].announced for _ in range(2)] == [None, ""]


def test_sequences_only_grow_and_follow_the_clock(store: Store) -> None:
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    mine = claim(store, FOLDER)
    began = store.clock()
    sequences = [store.read(FOLDER.id, mine)[0].sequence for _ in range(20)]
    assert sequences == sorted(set(sequences))
    assert sequences[0] >= began


def test_thousands_of_profiles_in_one_call(store: Store) -> None:
    store.add_folder(FOLDER)
    people = [ProfileKey(1, f"group {number}") for number in range(3_000)]
    assert save(store, *[write(key, ABSENT, b"one") for key in people]) == []
    taken = store.claim(FOLDER.id, [BUCKET], 3_000, NEVER, "token")
    assert keys(taken) == set(people)
    assert len(store.read(FOLDER.id, taken)) == 3_000
    store.settle(FOLDER.id, "token", [Settlement(one, b"one", "hash", "hash") for one in taken], NOW)
    assert store.next_due(FOLDER.id) == [None] * BUCKETS
    assert store.settled(FOLDER.id, people) == ["hash"] * 3_000

"""What is due in a folder and what is read of it, on every implementation of `projections.store.protocol.Store`."""

import pytest

from projections.profile_key import BUCKETS, ProfileKey
from projections.store.protocol import ABSENT, Announced, Claim, FlushReading, Folder, Published, Settlement, Store
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
    settlement,
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
    store.settle(FOLDER.id, "claim", [settlement(mine, b"one", "hash")], NEVER)
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
    settled = [Settlement(ann, first, "hash", Published.ANNOUNCEMENT), Settlement(cem, absent, "", Published.FILE)]
    store.settle(FOLDER.id, "claim", settled, NOW)
    store.force(FOLDER.id, [ANN, CEM])
    second, nothing = store.read(FOLDER.id, sorted(claim(store, FOLDER, who="second")))
    assert (second.settled, second.announced) == ("hash", Announced("hash", first.sequence))
    assert (nothing.settled, nothing.announced) == (None, None), "of a profile that is no more nothing is kept"
    assert store.read(FOLDER.id, []) == []


def test_a_settlement_without_an_announcement_leaves_what_was_announced(store: Store) -> None:
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    (mine,) = claim(store, FOLDER)
    store.settle(FOLDER.id, "claim", [settlement(mine, b"one", "hash 1", Published.ANNOUNCEMENT)], NOW)
    store.force(FOLDER.id, [ANN])
    (mine,) = claim(store, FOLDER, who="second")
    store.settle(FOLDER.id, "second", [settlement(mine, b"one", "hash 2")], NOW)
    (reading,) = store.read(FOLDER.id, [mine])
    assert (reading.settled, reading.announced) == ("hash 2", Announced("hash 1", 0))


@pytest.mark.parametrize("late_settles_first", [True, False])
def test_two_announcements_at_the_same_time_have_the_profile_announced_once_more(
    store: Store, *, late_settles_first: bool
) -> None:
    """The topic may hold them in either order, and keeps the last one."""
    other = Folder("2c", None)
    store.add_folder(FOLDER)
    store.add_folder(other)
    save(store, write(ANN, ABSENT, b"one"))
    (mine,), (theirs,) = claim(store, FOLDER), claim(store, other)
    (early,), (late,) = store.read(FOLDER.id, [mine]), store.read(other.id, [theirs])

    def settle_early() -> None:
        store.settle(FOLDER.id, "claim", [Settlement(mine, early, "early", Published.ANNOUNCEMENT)], NOW)

    if not late_settles_first:
        settle_early()
    store.settle(other.id, "claim", [Settlement(theirs, late, "late", Published.ANNOUNCEMENT)], NOW)
    if late_settles_first:
        settle_early()
    assert store.read(FOLDER.id, [mine])[0].announced == Announced("late", late.sequence)
    again = {folder.id: claim(store, folder, who="again") for folder in (FOLDER, other)}
    forced = Claim(ANN, forced=True, taken_over=False)
    assert again == {FOLDER.id: [forced], other.id: []} if late_settles_first else {FOLDER.id: [], other.id: [forced]}


def test_two_that_announced_the_same_at_the_same_time_are_done(store: Store) -> None:
    other = Folder("2c", None)
    folders = [FOLDER, other]
    for folder in folders:
        store.add_folder(folder)
    save(store, write(ANN, ABSENT, b"one"))
    claims = [claim(store, folder)[0] for folder in folders]
    readings = [store.read(folder.id, [one])[0] for folder, one in zip(folders, claims, strict=True)]
    for folder, one, reading in zip(folders, claims, readings, strict=True):
        store.settle(folder.id, "claim", [Settlement(one, reading, "same", Published.ANNOUNCEMENT)], NOW)
    assert [claim(store, folder, who="again") for folder in folders] == [[], []]


def test_reading_twice_is_as_reading_once(store: Store) -> None:
    """A lost reply is sent again: what the first reading left must not look like knowledge to the second."""
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    mine = claim(store, FOLDER)
    assert [store.read(FOLDER.id, mine)[0]._replace(sequence=0) for _ in range(3)] == [
        FlushReading(b"one", b"head of one", None, None, 0)
    ] * 3


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
    store.settle(FOLDER.id, "token", [settlement(one, b"one", "hash", Published.ANNOUNCEMENT) for one in taken], NOW)
    assert store.next_due(FOLDER.id) == [None] * BUCKETS
    assert store.settled(FOLDER.id, people) == ["hash"] * 3_000


def test_a_folder_that_nobody_flushes_is_dropped_and_returns_as_a_new_one(bench: Bench) -> None:
    store, other = bench.open(NOW), Folder("2c", None)
    save(store, write(ANN, ABSENT, b"one"))
    store.add_folder(FOLDER)
    store.add_folder(other)
    [taken] = claim(store, FOLDER)
    store.settle(FOLDER.id, "claim", [settlement(taken, b"one", "hash")], 0.0)
    assert store.settled(FOLDER.id, [ANN]) == ["hash"]
    assert store.drop_folders(3_600) == []
    bench.wait(0.3)
    store.add_folder(other)
    assert store.drop_folders(0.2) == [FOLDER.id]
    assert store.drop_folders(0.2) == []
    save(store, write(BEN, ABSENT, b"one"))
    assert keys(claim(store, other)) == {ANN, BEN}, "those of others stay"
    assert (store.count_due(FOLDER.id), store.settled(FOLDER.id, [ANN])) == (0, [None])
    assert store.add_folder(FOLDER)
    assert keys(claim(store, FOLDER, who="again")) == {ANN, BEN}

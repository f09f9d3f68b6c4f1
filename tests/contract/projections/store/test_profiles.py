"""Profiles, on every implementation of `projections.store.protocol.Store`: versions, and what arrives twice."""

import threading

import pytest

from projections.profile_key import BUCKETS, ProfileKey, bucket_of
from projections.store.protocol import ABSENT, Announced, Claim, Folder, Published, Save, Settlement, Store
from support.stores import (
    ANN,
    AWKWARD,
    BEN,
    BUCKET,
    CEM,
    EVERYTHING,
    FOLDER,
    NEVER,
    NOW,
    ORIGIN,
    Bench,
    claim,
    save,
    settlement,
    state,
    write,
)


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


def test_a_save_that_arrives_twice_does_nothing_the_second_time(store: Store) -> None:
    store.initialize(ORIGIN)
    store.add_folder(FOLDER)
    sent = Save(
        BUCKET,
        [write(ANN, ABSENT, b"one", {b"h": b"1", b"c1": b"x"}), write(BEN, ABSENT, b"two", {b"h": b"2"})],
        0,
        {"comment-created/0": (10, 12)},
    )
    assert store.save([sent]) == [[]]
    (ann,) = [one for one in claim(store, FOLDER) if one.key == ANN]
    store.settle(FOLDER.id, "claim", [settlement(ann, b"one", "hash", Published.ANNOUNCEMENT)], NEVER)
    before = (state(store), store.next_due(FOLDER.id), dict(store.scan(ANN)), dict(store.scan(BEN)))
    assert store.save([sent]) == [[]]
    assert (state(store), store.next_due(FOLDER.id), dict(store.scan(ANN)), dict(store.scan(BEN))) == before
    assert claim(store, FOLDER, who="other") == []


def test_a_save_that_arrives_again_after_another_writer_is_a_conflict(store: Store) -> None:
    store.initialize(ORIGIN)
    sent = Save(BUCKET, [write(ANN, ABSENT, b"one", {b"h": b"1"}, [b"tgone"])], 0, {"comment-created/0": (10, 12)})
    store.save([sent])
    save(store, write(ANN, b"one", b"other", {b"h": b"2", b"tgone": b"back"}))
    before = state(store)
    assert store.save([sent]) == [[ANN]]
    assert state(store) == before
    assert store.load({ANN: [b"h", b"tgone"]})[ANN] == (b"other", {b"h": b"2", b"tgone": b"back"})


def test_a_removal_that_arrives_twice_spares_a_recreated_profile(store: Store) -> None:
    save(store, write(ANN, ABSENT, b"one"))
    assert store.remove(ANN, b"one")
    assert store.remove(ANN, b"one")
    save(store, write(ANN, ABSENT, b"two"))
    assert not store.remove(ANN, b"one")
    assert store.load({ANN: ()})[ANN].version == b"two"


@pytest.mark.parametrize("users", [[0, 1, 2, 3], [2**53 - 1, 2**53, 2**53 + 1, 2**53 + 2], [2**63 - 2, 2**63 - 1]])
def test_profiles_are_listed_by_exact_user_ids(store: Store, users: list[int]) -> None:
    for user in users:
        for slug in ("b", "a"):
            save(store, write(ProfileKey(user, slug), ABSENT, b"one"))
    assert store.profiles(0, EVERYTHING) == [ProfileKey(user, slug) for user in users for slug in "ab"]
    for user in users:
        assert store.profiles(user, user) == [ProfileKey(user, "a"), ProfileKey(user, "b")]
    assert store.profiles(users[1], users[0]) == []


def test_a_field_of_all_profiles_of_some_users(store: Store) -> None:
    groups = [ProfileKey(8, f"group-{number}") for number in range(450)]  # more than a page of one bucket
    below, above, huge = ProfileKey(6, "elm"), ProfileKey(2**53, "elm"), ProfileKey(2**53 + 1, "elm")
    for key in (below, *groups, above, huge):
        save(store, write(key, ABSENT, b"one", {b"h": repr(key).encode()}))
    save(store, write(ProfileKey(7, "a:b"), ABSENT, b"one", {b"c1": b"no head"}))
    found = list(store.load_range(7, 2**53, b"h"))
    assert len(found) == len(dict(found))
    assert dict(found) == {ProfileKey(7, "a:b"): None} | {key: repr(key).encode() for key in (*groups, above)}
    assert list(store.load_range(9, 2**53 - 1, b"h")) == []


@pytest.mark.parametrize("slug", AWKWARD)
def test_any_slug_names_a_profile(store: Store, slug: str) -> None:
    key = ProfileKey(2**63 - 1, slug)
    store.add_folder(FOLDER)
    save(store, write(key, ABSENT, b"one", {b"h": slug.encode()}))
    (mine,) = claim(store, FOLDER)
    assert mine.key == key
    assert store.read(FOLDER.id, [mine])[0].head == slug.encode()
    assert store.profiles(0, EVERYTHING) == [key]
    assert store.remove(key, b"one")
    assert store.profiles(0, EVERYTHING) == []


def test_of_a_removed_profile_that_is_nowhere_due_nothing_stays(store: Store) -> None:
    store.add_folder(FOLDER)
    save(store, write(ANN, ABSENT, b"one"))
    (ann,) = claim(store, FOLDER)
    store.settle(FOLDER.id, "claim", [settlement(ann, b"one", "hash", Published.ANNOUNCEMENT)], NOW)
    assert not store.remove(ANN, b"other")
    assert store.remove(ANN, b"one")
    assert store.next_due(FOLDER.id) == [None] * BUCKETS
    assert store.settled(FOLDER.id, [ANN]) == [None]
    assert store.profiles(0, EVERYTHING) == []
    save(store, write(ANN, ABSENT, b"new", {b"c1": b""}))
    (again,) = claim(store, FOLDER, who="second")
    reading = store.read(FOLDER.id, [again])[0]
    assert (reading.head, reading.settled, reading.announced) == (None, None, None)


@pytest.mark.parametrize("claimed", [True, False])
def test_a_removed_profile_stays_due_in_folders_that_still_have_its_file(store: Store, *, claimed: bool) -> None:
    """One folder's run removes the profile; the others have to remove their files when their turn comes."""
    other = Folder("2c", None)
    for folder in (FOLDER, other):
        store.add_folder(folder)
    save(store, write(ANN, ABSENT, b"one"))
    for folder in (FOLDER, other):
        (one,) = claim(store, folder)
        (reading,) = store.read(folder.id, [one])
        store.settle(folder.id, "claim", [Settlement(one, reading, "hash", Published.ANNOUNCEMENT)], NOW)
    announced = Announced("hash", reading.sequence)
    save(store, write(ANN, b"one", b"two", {b"h": b"ended"}))
    (mine,) = claim(store, FOLDER, who="second")
    store.settle(FOLDER.id, "second", [settlement(mine, b"two", "")], NOW)
    theirs = claim(store, other, who="second") if claimed else []
    assert store.remove(ANN, b"two")
    theirs = theirs or claim(store, other, who="second")
    assert theirs == [Claim(ANN, forced=False, taken_over=False)]
    (left,) = store.read(other.id, theirs)
    assert (left.version, left.head, left.settled, left.announced) == (ABSENT, None, "hash", announced)
    store.settle(other.id, "second", [Settlement(theirs[0], left, "", Published.ANNOUNCEMENT)], NOW)
    for folder in (FOLDER, other):
        assert store.next_due(folder.id) == [None] * BUCKETS
        assert store.settled(folder.id, [ANN]) == [None]


def test_a_save_of_a_hundred_thousand_fields(store: Store) -> None:
    fields = {b"t%d" % number: b"%d" % number for number in range(100_000)}
    assert save(store, write(ANN, ABSENT, b"one", fields)) == []
    assert dict(store.scan(ANN)) == fields
    found = store.load({ANN: list(fields)})[ANN]
    assert (found.version, dict(found.fields)) == (b"one", fields)
    assert save(store, write(ANN, b"one", b"two", {b"h": b"x"}, list(fields))) == []
    assert dict(store.scan(ANN)) == {b"h": b"x"}

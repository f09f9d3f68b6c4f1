"""Several folders on one store, each with a flusher of its own: what was announced belongs to all of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from projections.comments.events import gone
from projections.profile_key import ProfileKey
from support.flushing import Interrupted, Rig, rig
from support.histories import comment
from support.rollback import keep
from support.stores import Bench

ANN = ProfileKey(1, "lions")


@pytest.fixture
def one(bench: Bench, tmp_path: Path) -> Iterator[Rig]:
    with rig(bench, tmp_path / "profiles") as found:
        found.apply(comment(ANN, 11, 1, "https://a.org"))
        found.flush()
        yield found


@pytest.fixture
def other(one: Rig, tmp_path: Path) -> Iterator[Rig]:
    """Another folder on the same store, which tells the same downstream."""
    with rig(one.bench, tmp_path / "other", store=one.store) as found:
        found.announced = one.announced
        yield found


def _flush_slowly(other: Rig, one: Rig, during: str, link: str, revision: int) -> None:
    """Flush the other folder, while the profile changes and is flushed in the first one."""

    def meanwhile(name: str, when: str) -> None:
        if (name, when) == (during, "after"):
            one.apply(comment(ANN, 11, revision, link))
            assert one.flusher().flush().claims == 1

    parts = {"folder": Interrupted(other.folder, meanwhile), "announcer": Interrupted(other.announced, meanwhile)}
    other.flusher(**parts).flush()


def test_a_slow_flush_does_not_undo_what_another_folder_announced(one: Rig, other: Rig) -> None:
    other.flush()
    one.apply(comment(ANN, 11, 2, "https://b.org"))
    _flush_slowly(other, one, "announce", "https://c.org", 3)
    one.apply(comment(ANN, 11, 4, "https://b.org"))
    one.flush()
    other.flush()
    one.right()
    assert other.lying() == one.lying()


def test_a_slow_flush_that_announces_nothing_leaves_what_another_folder_announced(one: Rig, other: Rig) -> None:
    _flush_slowly(other, one, "write", "https://b.org", 2)
    one.apply(comment(ANN, 11, 3, "https://a.org"))
    one.flush()
    other.flush()
    one.right()
    assert other.lying() == one.lying()


@pytest.mark.parametrize("newer_settles_first", [True, False])
def test_of_two_announcements_at_the_same_time_the_newer_one_is_the_last(
    one: Rig, other: Rig, *, newer_settles_first: bool
) -> None:
    """One folder reads the older state, is slow to write, and announces it behind the newer one."""
    other.flush()
    one.apply(comment(ANN, 11, 2, "https://b.org"))

    def announce_newer_first(name: str, when: str) -> None:
        if (name, when) != ("announce", "before"):
            return
        one.apply(comment(ANN, 11, 3, "https://c.org"))
        store = Interrupted(one.store, settle=lambda *arguments: unsettled.append(arguments))
        assert one.flusher(store=one.store if newer_settles_first else store).flush().announced == 1

    unsettled: list[tuple[Any, ...]] = []
    slow = other.flusher(announcer=Interrupted(other.announced, announce_newer_first))
    assert slow.flush().announced == 1
    for arguments in unsettled:
        one.store.settle(*arguments)
    assert one.announced.compacted() != one.announced.latest(), "the older one is the last, by now"
    one.flush()
    other.flush()
    one.right()
    assert other.lying() == one.lying()


def test_a_flush_that_had_nothing_to_announce_does_not_hide_what_another_folder_did(one: Rig, other: Rig) -> None:
    other.flush()
    one.apply(comment(ANN, 11, 2, "https://b.org"))
    _flush_slowly(other, one, "announce", "https://a.org", 3)
    other.flush()
    one.flush()
    one.right()
    assert other.lying() == one.lying()


def test_a_profile_that_one_folders_run_removed_still_ends_in_the_other(one: Rig, other: Rig) -> None:
    other.flush()
    one.apply(comment(ANN, 11, 2, state=2))
    assert one.flush().removed == 1
    assert one.store.remove(ANN, one.store.load({ANN: ()})[ANN].version)
    assert other.flush().removed == 1
    assert (one.lying(), other.lying()) == ({}, {})
    assert one.announced.compacted() == {ANN: None}
    assert one.store.settled(other.folder.identity.id, [ANN]) == [None]


def test_a_folder_that_nobody_flushed_for_long_begins_as_a_new_one(bench: Bench, tmp_path: Path) -> None:
    with rig(bench, tmp_path / "profiles") as found:
        found.apply(comment(ANN, 1, 1))
        found.flush()
        assert not found.flusher().add_folder()
        bench.wait(0.3)
        flusher = found.flusher(folder_days=0.2 / 86_400)
        assert flusher.add_folder()
        assert not flusher.add_folder(), "who flushes is not dropped"
        assert found.flush(flusher) == (0, 0, 1, 0, 0)
        found.right()


def test_after_a_loss_a_folder_that_was_behind_does_not_hide_what_the_other_announced(
    bench: Bench, tmp_path: Path
) -> None:
    with rig(bench, tmp_path / "profiles") as one, rig(bench, tmp_path / "other", store=one.store) as other:
        other.announced = one.announced
        empty = keep(one.store)
        one.apply(comment(ANN, 11, 1, "https://a.org"))
        one.flush()
        other.flush()
        one.apply(comment(ANN, 11, 2, "https://b.org"))
        one.flush()
        empty()
        for each in (one, other):
            each.flusher().add_folder()
        one.apply(comment(ANN, 11, 3, "https://a.org"))
        other.flush()
        one.flush()
        one.right()
        assert other.lying() == one.lying()


def test_a_folder_without_the_file_does_not_say_for_another_that_nothing_was_announced(
    one: Rig, bench: Bench, tmp_path: Path
) -> None:
    """The store was lost, the profile has ended, and the folder that has no file of it is the first to be flushed."""
    store = bench.fresh()
    with rig(bench, tmp_path / "other", store=store) as other, rig(bench, one.folder.path, store=store) as again:
        other.announced = again.announced = one.announced
        other.apply(gone(11, ANN.user_id, ANN.group_slug, 1, revision=2))
        other.flush()
        again.flush()
        assert one.announced.compacted() == {ANN: None}

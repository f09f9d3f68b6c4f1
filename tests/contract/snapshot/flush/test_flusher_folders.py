"""Several folders on one store, each with a flusher of its own: what downstream was told belongs to all of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from projections.profile_key import ProfileKey
from support.flushing import Interrupted, Rig, rig
from support.histories import comment
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
        found.told = one.told
        yield found


def _flush_slowly(other: Rig, one: Rig, during: str, link: str, revision: int) -> None:
    """Flush the other folder, while the profile changes and is flushed in the first one."""

    def meanwhile(name: str, when: str) -> None:
        if (name, when) == (during, "after"):
            one.apply(comment(ANN, 11, revision, link))
            assert one.flusher().flush().claims == 1

    parts = {"folder": Interrupted(other.folder, meanwhile), "announcer": Interrupted(other.told, meanwhile)}
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


def test_a_flush_that_had_nothing_to_announce_does_not_hide_what_another_folder_did(one: Rig, other: Rig) -> None:
    other.flush()
    one.apply(comment(ANN, 11, 2, "https://b.org"))
    _flush_slowly(other, one, "announce", "https://a.org", 3)
    other.flush()
    one.flush()
    one.right()
    assert other.lying() == one.lying()

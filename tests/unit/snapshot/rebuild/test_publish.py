"""A rebuild whose files or announcements fail says so; one whose trouble passes goes on."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from projections.errors import OperatorError
from projections.profile_key import BUCKETS, ProfileKey
from projections.store.memory import MemoryStore
from projections.store.protocol import InitialPositions, RecoveryGoal
from snapshot.announce.announcement import Announcement
from snapshot.files.folder import open_folder
from snapshot.flush.epochs import EPOCHS
from snapshot.flush.scrub import Scrub
from snapshot.rebuild.detect import Detection
from snapshot.rebuild.publish import PublishStep
from snapshot.rebuild.rebuild import Rebuild
from support.rebuilding import RecordingAnnouncer, Town
from support.rollback import keep
from support.stores import NOW, Clock
from support.whiteballoon import WhiteBalloon

ORIGIN = InitialPositions({"tail/0": 0}, {}, "1")
GONE = ProfileKey(9, "elm")


class Refusing(RecordingAnnouncer):
    """Refuses one user's announcements, so many times."""

    def __init__(self, user_id: int, times: int) -> None:
        super().__init__()
        self._user_id = user_id
        self._left = times

    def announce(self, announcements: Sequence[Announcement]) -> list[Exception | None]:
        return [self._answer(one) for one in announcements]

    def _answer(self, one: Announcement) -> Exception | None:
        if one.user_id == self._user_id and self._left:
            self._left -= 1
            return TimeoutError("no acknowledgement")
        self.all.append(one)
        return None


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    wb = WhiteBalloon.in_folder(tmp_path / "data")
    request, users = wb.add_group("elm", "Elm", members=2)
    for user in users:
        wb.comment(user, request, "hello")
    clock = Clock()
    town = Town(tmp_path, wb, MemoryStore(clock, NOW), clock.wait)
    yield town
    town.database.close()


def test_an_announcement_that_fails_for_good_is_no_success(town: Town) -> None:
    town.announced = Refusing(1, times=1000)
    with pytest.raises(OperatorError, match="1 profiles can't be written or announced"):
        town.rebuild()
    town.announced = RecordingAnnouncer()
    town.later()
    town.sleep(60)
    assert (town.rebuild().exit_code, [one.user_id for one in town.announced.all]) == (0, [1])
    town.check()


def test_an_announcement_that_fails_twice_is_made_in_the_same_run(town: Town) -> None:
    town.announced = Refusing(1, times=2)
    report = town.rebuild()
    assert (report.exit_code, report.announced) == (1, 2)
    town.check()


def test_a_file_whose_place_is_taken_is_no_success(town: Town) -> None:
    town.rebuild()
    place = town.out / "1-elm.json"
    place.unlink()
    place.mkdir()
    with pytest.raises(OperatorError, match="1 profiles can't be written or announced"):
        town.rebuild()
    place.rmdir()
    assert town.rebuild().written == 1
    town.check()


class Busy(RecordingAnnouncer):
    """Whoever hears of a user's profile writes at once: there is always another one due."""

    def __init__(self, town: Town) -> None:
        super().__init__()
        self._town = town

    def announce(self, announcements: Sequence[Announcement]) -> list[Exception | None]:
        for one in announcements:
            self._town.wb.comment(one.user_id, 1, "another")
        self._town.apply_rows()
        self._town.sleep(1)
        assert len(self.all) < 100, "the flush does not end"
        return super().announce(announcements)


def test_a_flush_ends_under_traffic_that_does_not(town: Town) -> None:
    town.rebuild()
    town.wb.comment(1, 1, "the first")
    town.announced = Busy(town)
    assert town.rebuild().announced > 0
    town.announced = RecordingAnnouncer()
    town.rebuild()
    town.check()


@pytest.mark.parametrize(
    "moment", [(Detection, "detect"), (Rebuild, "_repair"), (PublishStep, "_wrong_files")], ids=lambda one: one[1]
)
def test_a_rebuild_whose_store_was_lost_since_it_began_removes_nothing(
    town: Town, monkeypatch: pytest.MonkeyPatch, moment: tuple[type, str]
) -> None:
    """What it compared was in step; and a folder without a record does not tell what it was written from."""
    town.store.initialize(ORIGIN)
    lose = keep(town.store)
    town.rebuild()
    before = town.files()
    (town.out / EPOCHS).unlink()
    done = getattr(*moment)

    def lost(*args: Any) -> Any:  # noqa: ANN401  of any of the three
        found = done(*args)
        lose()
        return found

    monkeypatch.setattr(*moment, lost)
    town.rebuild()
    assert town.files() == before
    monkeypatch.undo()
    town.rebuild()
    assert town.rebuild().exit_code == 0
    assert town.files() == before


def test_a_rebuild_that_ends_a_recovery_leaves_the_daemon_what_only_the_announcements_know(town: Town) -> None:
    town.store.initialize(ORIGIN)
    town.rebuild()
    for bucket in range(BUCKETS):
        goal = RecoveryGoal({}, reconcile=True, reason="a test")
        assert town.store.raise_epoch(bucket, 0, goal, ORIGIN)
    town.rebuild()
    assert all(state and state.recovery is None for state in town.store.bucket_states())
    with closing(open_folder(town.out, None)) as folder:
        assert Scrub(town.store, folder, announced=lambda: {GONE: "0" * 64}).step() == [GONE]
        assert Scrub(town.store, folder, announced=lambda: {GONE: "0" * 64}).step() == [], "once is enough"

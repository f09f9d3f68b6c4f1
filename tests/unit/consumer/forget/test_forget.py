"""Forgetting on the memory store: killed at any call of the store and run again, it ends the same."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from structlog.testing import capture_logs

from consumer.forget.forget import Forgetting, Surroundings
from consumer.forget.receipt import Receipt, show
from projections.comments.events import Event
from projections.comments.rows import CommentRow
from projections.errors import OperatorError
from projections.profile_key import BUCKETS, HIGHEST_ID, ProfileKey
from projections.projection import Projection
from projections.store.protocol import Folder, Published, Settlement, Store, block_at
from snapshot.announce.file import FileAnnouncer
from snapshot.cli.options import FileOptions
from snapshot.cli.resources import ANNOUNCEMENTS
from snapshot.files.folder import open_folder
from snapshot.files.marker import BlockedInMarker
from snapshot.files.places import note_place
from snapshot.flush.flusher import Flusher
from snapshot.runtime.metrics import NoMetrics
from support.flushing import Crash
from support.histories import comment, insight
from support.profile_files import put_profile_file
from support.stores import Passing, memory_bench

if TYPE_CHECKING:
    from projections.database.protocol import Database

USER, CALLS = 7, 60
MINE = (ProfileKey(USER, "lions"), ProfileKey(USER, "tigers"))
OTHER = ProfileKey(8, "lions")
LINK = "https://example.org/0"


class Rows:
    """A database of which only this much is read here."""

    def __init__(self) -> None:
        self.comments: list[CommentRow] = []

    def clock(self) -> int:
        return 1_000

    def comments_of_users(self, *_: object) -> list[CommentRow]:
        return self.comments


class Mortal(Passing):
    """Dies instead of a call."""

    def __init__(self, store: Store, calls: int) -> None:
        super().__init__(store)
        self.left = calls

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401  whatever the store has
        if not name.startswith("_") and name in vars(Store):
            if self.left == 0:
                raise Crash
            self.left -= 1
        return super().__getattribute__(name)


class Place:
    """A store with two profiles of one user and one of another, all of them flushed."""

    def __init__(self, path: Path) -> None:
        self.files = FileOptions(storage_dir=path)
        bench = memory_bench()
        self.store, self._wait = bench.fresh(), bench.wait
        self.rows = Rows()
        self.apply([event for key in (*MINE, OTHER) for event in events_of(key)])
        folder = open_folder(self.files.profiles, None)
        note_place(self.store, folder, path)
        flusher = Flusher(Projection(self.store), folder, self.announcer, NoMetrics())
        flusher.add_folder()
        while flusher.flush().claims:
            pass
        folder.close()

    def apply(self, events: list[Event]) -> None:
        Projection(self.store).apply(events)

    @property
    def announcer(self) -> FileAnnouncer:
        return FileAnnouncer(self.files.storage_dir / ANNOUNCEMENTS)

    def forgetting(self, store: Store | None = None) -> Forgetting:
        database: Database = self.rows  # type: ignore[assignment]
        around = Surroundings(Projection(store or self.store), database, self.files, self.announcer, None, "memory")
        return Forgetting(USER, around, lambda: datetime(2026, 1, 2, tzinfo=UTC), sleep=self._wait)

    def names(self) -> set[str]:
        return {path.name for path in self.files.profiles.glob("*.json")}

    def users_announced(self) -> set[int]:
        lines = (self.files.storage_dir / ANNOUNCEMENTS).read_bytes().splitlines()
        return {json.loads(line)["user_id"] for line in lines}

    def check_forgotten(self) -> None:
        assert self.names() == {"8-lions.json"}
        assert self.users_announced() == {8}
        assert self.store.profiles(0, HIGHEST_ID) == [OTHER]
        assert self.store.floors(range(BUCKETS)).keys() == {USER}
        for name, value in vars(self.store).items():
            assert "tigers" not in repr(value), name
        assert not self.store.document("forget")


def events_of(key: ProfileKey) -> list[Event]:
    return [comment(key, key.user_id, 5, f"see {LINK}"), insight(key, key.user_id, 5, ("label 1",))]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_run_that_dies_at_any_call_is_completed_by_the_next(tmp_path: Path) -> None:
    deaths = 0
    for calls in range(CALLS):
        place = Place(tmp_path / str(calls))
        try:
            place.forgetting(Mortal(place.store, calls).as_store()).run(force=False)
        except Crash:
            deaths += 1
        place.apply([*events_of(MINE[0]), *events_of(MINE[1])])  # what was on its way arrives late
        assert place.forgetting().run(force=False).complete
        place.check_forgotten()
    assert 20 < deaths < CALLS, "it died at each of its calls"


def test_the_receipt_says_what_was_removed_and_a_second_run_finds_nothing(place: Place) -> None:
    receipt = place.forgetting().run(force=False)
    assert (receipt.complete, receipt.blocked, receipt.floor) == (True, False, 1_000)
    assert counts(receipt) == {
        ("profiles", "memory"): 2,
        ("registers of comments, with their labels", "memory"): 2,
        ("file", str(place.files.profiles / "7-lions.json")): 1,
        ("file", str(place.files.profiles / "7-tigers.json")): 1,
        ("announcements", str(place.files.storage_dir / ANNOUNCEMENTS)): 4,
    }
    assert counts(place.forgetting().run(force=False)) == {}
    place.check_forgotten()


def counts(receipt: Receipt) -> dict[tuple[str, str], int]:
    return {(one.what, one.where): one.count for one in receipt.removed}


def test_a_register_ahead_of_the_clock_is_below_the_floor_too(place: Place) -> None:
    place.apply([comment(MINE[0], 9, 5_000)])
    assert place.forgetting().run(force=False).floor == 5_000
    place.apply([comment(MINE[0], 9, 5_000)])
    place.check_forgotten()


def test_refused_it_changes_nothing(place: Place) -> None:
    place.rows.comments = [CommentRow(*([None] * len(CommentRow._fields)))]  # type: ignore[arg-type]
    before = repr(vars(place.store))
    with pytest.raises(OperatorError, match=r"the database still has 1 comment of user 7, .* with --force"):
        place.forgetting().run(force=False)
    assert repr(vars(place.store)) == before
    assert place.names() == {"7-lions.json", "7-tigers.json", "8-lions.json"}
    assert place.forgetting().run(force=True).blocked


def test_a_block_is_undone_once_and_old_events_stay_out(place: Place) -> None:
    with pytest.raises(OperatorError, match="user 7 is not blocked"):
        place.forgetting().undo()
    marker = BlockedInMarker(place.files.profiles)
    assert place.forgetting().run(force=True).floor is None
    assert marker.get() == {USER}
    place.apply([comment(MINE[0], 9, 2**63 - 1)])
    place.check_forgotten()
    assert place.forgetting().undo() == 1_001, "later than the block, which began at 1,000"
    assert marker.get() == frozenset()
    place.apply(events_of(MINE[0]))
    place.check_forgotten()
    place.apply([comment(MINE[0], 9, 1_002)])
    assert place.store.profiles(USER, USER) == [MINE[0]]


def test_a_folder_that_missed_the_end_of_a_block_does_not_begin_it_again(place: Place) -> None:
    assert place.forgetting().run(force=True).blocked
    noted = (marker := BlockedInMarker(place.files.profiles)).blocks()
    place.forgetting().undo()
    marker.put(noted)
    receipt = place.forgetting().run(force=False)
    assert (receipt.complete, receipt.blocked) == (True, False)


def test_a_block_that_only_the_folder_knows_is_undone(place: Place) -> None:
    BlockedInMarker(place.files.profiles).put({USER: block_at(7)})
    assert place.forgetting().undo() == 1_000


def test_a_file_that_cannot_be_removed_makes_the_receipt_incomplete(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as broken, capture_logs():
        broken.setattr("consumer.forget.forget.remove_user", refuse)
        receipt = place.forgetting().run(force=False)
    assert not receipt.complete
    [failed] = [one for one in receipt.remaining if one.failed]
    assert (failed.what, failed.ends) == ("announcements", "Permission denied; then run forget again")
    assert place.forgetting().run(force=False).complete
    place.check_forgotten()


def test_a_folder_that_only_wb_writes_to_is_cleaned_and_remembers_the_block(place: Place, tmp_path: Path) -> None:
    elsewhere = tmp_path / "by wb"
    open_folder(elsewhere, None).close()
    for key in (*MINE, OTHER):
        put_profile_file(elsewhere, *key)
    place.files = replace(place.files, output_dir=elsewhere)
    assert place.forgetting().run(force=True).complete
    assert [path.name for path in elsewhere.glob("*.json")] == ["8-lions.json"]
    assert BlockedInMarker(elsewhere).get() == {USER}
    place.files = replace(place.files, output_dir=None)
    place.check_forgotten()


def test_the_storage_folder_of_another_daemon_here_is_looked_into(place: Place, tmp_path: Path) -> None:
    theirs = tmp_path / "another"
    folder = open_folder(theirs / "signal_profiles", None)
    place.store.add_folder(folder.identity)
    note_place(place.store, folder, theirs)
    folder.close()
    (theirs / ANNOUNCEMENTS).write_bytes(b'{"user_id":7,"a":1}\n{"user_id":8}\n{"user_id":7,"torn')
    assert place.forgetting().run(force=False).complete
    assert (theirs / ANNOUNCEMENTS).read_bytes() == b'{"user_id":8}\n'
    place.check_forgotten()


def test_a_folder_elsewhere_is_named_until_it_is_done(place: Place) -> None:
    elsewhere = Folder("17ab", None)
    place.store.add_folder(elsewhere)
    receipt = place.forgetting().run(force=False)
    [files, lines] = [one for one in receipt.remaining if "17ab" in one.where]
    assert files.ends.endswith("run forget again after that")
    assert lines.ends == "run forget there as well"
    claims = place.store.claim("17ab", range(BUCKETS), 9, 9.0, "theirs")
    readings = place.store.read("17ab", claims)
    settled = [Settlement(one, read, "", Published.FILE) for one, read in zip(claims, readings, strict=True)]
    place.store.settle("17ab", "theirs", settled, 0.0)
    place.forgetting().run(force=False)
    assert [one.ends for one in place.forgetting().run(force=False).remaining if "17ab" in one.where] == [lines.ends]


def test_a_receipt_is_a_table_for_a_person(place: Place) -> None:
    receipt, written = place.forgetting().run(force=True), StringIO()
    show(receipt, Console(file=written, width=300))
    assert "User 7 is forgotten and blocked." in written.getvalue()
    assert str(place.files.profiles / "7-lions.json") in written.getvalue()
    assert "they keep old events out" in written.getvalue()

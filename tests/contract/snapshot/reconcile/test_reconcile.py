"""Reconciling and rebuilding, on every store: what is broken is named, repaired, and in step afterwards."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from projections.codec import link_field, pack_label, register_field, tag_field, unpack_label
from projections.comments.events import CommentCreated
from projections.comments.register import Register, pack, unpack
from projections.errors import OperatorError
from projections.profile_key import ProfileKey
from projections.store.protocol import ABSENT, HEAD
from projections.watermark import TAIL
from snapshot.build import build
from snapshot.rebuild.detect import Detection, DetectionResult
from snapshot.rebuild.publish import DAY
from support.differences import differences
from support.profile_files import put_profile_file
from support.rebuilding import EVERYTHING, Town
from support.stores import NOW, Bench
from support.whiteballoon import WhiteBalloon

ANN, BEN, CEM = 1, 2, 3
ELM, OAK = "elm-street", "oak/row"


class Street(NamedTuple):
    """A town with two groups; the ids of some of its comments."""

    town: Town
    linked: int
    tagged: int
    deleted: int
    lone: int


@pytest.fixture
def wb(tmp_path: Path) -> WhiteBalloon:
    return WhiteBalloon.in_folder(tmp_path / "data")


@pytest.fixture
def street(tmp_path: Path, wb: WhiteBalloon, bench: Bench) -> Iterator[Street]:
    elm, _ = wb.add_group(ELM, "Elm Street", members=2)
    oak, (cem,) = wb.add_group(OAK, "Oak Row", members=1)
    wb.join(ANN, OAK, "Oak Row")
    assert cem == CEM
    linked = wb.comment(ANN, elm, "see https://a.org/x and https://b.org\n(Reactions: Ben 👍)")
    tagged = wb.comment(ANN, elm, "a flat\n[attachments: plan.pdf]")
    wb.analyse(tagged, resource_tags=["housing"], tags=["flat", "housing"])
    wb.comment(ANN, oak, "both groups https://a.org/x")
    wb.comment(BEN, elm, "hello")
    deleted = wb.comment(BEN, elm, "wrong place https://c.org")
    wb.soft_delete(deleted)
    lone = wb.comment(CEM, oak, "trees")
    wb.comment(CEM, elm, "not a member there")
    town = Town(tmp_path, wb, bench.open(NOW), bench.wait)
    yield Street(town, linked, tagged, deleted, lone)
    town.database.close()
    town.store.close()


@pytest.fixture
def town(street: Street) -> Town:
    """The same, built once, its files written."""
    report = street.town.rebuild()
    assert (report.missing, report.exit_code) == (4, 1)
    street.town.check()
    return street.town


def test_a_first_rebuild_makes_every_profile_and_the_next_finds_all_in_step(street: Street) -> None:
    town = street.town
    first = town.rebuild()
    assert first.missing == 4
    assert first.written == 4
    assert first.drift == 4
    assert first.fills
    assert len(town.announced.all) == 4
    town.check()
    second = town.rebuild()
    assert (second.exit_code, second.in_step, second.profiles, second.drift) == (0, 4, 4, 0)
    assert (second.written, second.announced, second.events, second.fills) == (0, 0, 0, False)
    assert len(town.announced.all) == 4
    assert town.rebuild(deep=True).exit_code == 0


def test_it_gives_what_the_live_path_gives(street: Street) -> None:
    street.town.apply_rows()
    assert street.town.rebuild(deep=True).drift == 0
    street.town.check()


Break = Callable[[Street], object]
ANN_ELM, BEN_ELM, CEM_OAK = ProfileKey(ANN, ELM), ProfileKey(BEN, ELM), ProfileKey(CEM, OAK)


def lose_profile(street: Street) -> None:
    store = street.town.store
    assert store.remove(CEM_OAK, store.load({CEM_OAK: ()})[CEM_OAK].version)


def add_orphan(street: Street) -> None:
    """A profile that the database knows nothing of, with its file."""
    town = street.town
    stranger = ProfileKey(99, ELM)
    town.put(stranger, town.fields(ANN_ELM))
    folder = town.work().output
    assert folder is not None
    assert folder.flusher is not None
    town.store.recheck(folder.folder.identity.id, [stranger])
    assert folder.flusher.flush().written == 1
    folder.folder.close()


def change_count(street: Street) -> None:
    street.town.put_head(ANN_ELM, lambda head: setattr(head, "count", head.count + 3))


def change_ranking(street: Street) -> None:
    street.town.put_head(ANN_ELM, lambda head: head.tags.leaders.reverse())


def change_first(street: Street) -> None:
    street.town.put_head(ANN_ELM, lambda head: head.first.kept.pop(0))


def change_digest(street: Street) -> None:
    street.town.put_head(ANN_ELM, lambda head: setattr(head, "digest", bytes(15) + b"\1"))


def lose_head(street: Street) -> None:
    street.town.put(ANN_ELM, {}, [HEAD])


def garble_head(street: Street) -> None:
    street.town.put(ANN_ELM, {HEAD: b"\xc1garbled"})


def change_register(street: Street) -> None:
    """The register says something else than the row, and the aggregates don't know."""
    field = register_field(street.tagged)
    old = unpack(street.town.fields(ANN_ELM)[field])
    street.town.put(ANN_ELM, {field: pack(Register(old.comment_revision, old.comment, old.insight_revision, ("art",)))})


def garble_register(street: Street) -> None:
    street.town.put(ANN_ELM, {register_field(street.tagged): b"\xc1garbled"})


def lose_register(street: Street) -> None:
    street.town.put(ANN_ELM, {}, [register_field(street.linked)])


def lose_tombstone(street: Street) -> None:
    street.town.put(BEN_ELM, {}, [register_field(street.deleted)])


def change_label(street: Street) -> None:
    field = tag_field("housing")
    label = unpack_label(street.town.fields(ANN_ELM)[field])
    label.count += 1
    street.town.put(ANN_ELM, {field: pack_label(label)})


def add_stale_label(street: Street) -> None:
    label = street.town.fields(ANN_ELM)[link_field("https://b.org/")]
    street.town.put(ANN_ELM, {link_field("https://gone.org/"): label})


def lose_label(street: Street) -> None:
    street.town.put(ANN_ELM, {}, [link_field("https://b.org/")])


QUICK = {
    lose_profile: ("missing", ()),
    add_orphan: ("orphaned", ("message_count",)),
    change_digest: ("different", ("digest",)),
    lose_head: ("different", ("attachment_counts", "digest", "first_seen_at", "last_seen_at", "message_count",
                              "reaction_counts", "request_ids", "top_links", "top_tags")),
    garble_head: ("different", ("damaged",)),
}  # fmt: skip
DEEP = {
    change_count: ("different", ("message_count",)),
    change_ranking: ("different", ("top_tags",)),
    change_first: ("different", ("first_seen_at",)),
    change_register: ("different", ("digest", "label records", "top_tags")),
    garble_register: ("different", ("damaged",)),
    lose_register: ("different", ("digest", "first_seen_at", "label records", "last_seen_at", "message_count",
                                  "reaction_counts", "request_ids", "top_links")),
    lose_tombstone: ("different", ("digest",)),
    change_label: ("different", ("label records",)),
    add_stale_label: ("different", ("label records",)),
    lose_label: ("different", ("label records",)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("broken", "kind", "fields", "deep"),
    [
        pytest.param(broken, *named, deep, id=f"{broken.__name__}{'-deep' if deep else ''}")
        for ways, depths in ((QUICK, (False, True)), (DEEP, (True,)))
        for broken, named in ways.items()
        for deep in depths
    ],
)
def test_what_is_broken_is_named_repaired_and_in_step_afterwards(  # noqa: PLR0913, PLR0917 - what is broken, and how it is named
    street: Street,
    town: Town,
    broken: Break,
    kind: str,
    fields: tuple[str, ...],
    deep: bool,
) -> None:
    broken(street)
    before = town.files()

    dry = town.rebuild(deep=deep, dry_run=True)
    assert dry.exit_code == 1
    assert [(one[2], one[3]) for one in dry.named] == [(kind, fields)]
    assert town.files() == before

    report = town.rebuild(deep=deep)
    assert report.exit_code == 1
    assert [(one[2], one[3]) for one in report.named] == [(kind, fields)]
    assert getattr(report, kind) == 1
    town.check()
    again = town.rebuild(deep=deep)
    assert (again.exit_code, again.drift, again.in_step) == (0, 0, 4)


def test_an_orphan_is_gone_from_the_store_from_the_folder_and_for_downstream(street: Street, town: Town) -> None:
    add_orphan(street)
    stranger = ProfileKey(99, ELM)
    report = town.rebuild()
    assert (report.orphaned, report.removed, report.pruned) == (1, 1, 1)
    assert town.store.load({stranger: ()})[stranger].version == ABSENT
    assert stranger not in town.store.profiles(0, EVERYTHING)
    last = town.announced.all[-1]
    assert (last.user_id, last.snapshot, last.snapshot_hash) == (99, None, None)
    assert last.previous_hash is not None


def test_files_that_were_touched_are_named_and_written_again_without_an_announcement(town: Town) -> None:
    announced = len(town.announced.all)
    (town.out / f"{BEN}-{ELM}.json").unlink()
    (town.out / f"{ANN}-{ELM}.json").write_text("{}")
    (town.out / f"{CEM}-oak%2Frow.json").write_text((town.out / f"{ANN}-oak%2Frow.json").read_text())
    put_profile_file(town.out, 77, ELM)
    (town.out / "notes.json").write_text("mine")
    (town.out / "2024-budget.json").write_text("mine")
    (town.out / "78-elm-street.json").mkdir()  # no file, so nothing of ours
    names = [
        (f"{ANN}-{ELM}.json", "stale"),
        (f"{BEN}-{ELM}.json", "missing"),
        (f"{CEM}-oak%2Frow.json", "stale"),
        ("77-elm-street.json", "foreign"),
    ]
    for dry_run in (True, False):
        report = town.rebuild(dry_run=dry_run)
        assert sorted(report.named_files) == sorted(names)
        assert (report.exit_code, report.in_step, report.drift) == (1, 4, 4)
    for name in ("notes.json", "2024-budget.json"):
        assert (town.out / name).read_text() == "mine"
        (town.out / name).unlink()
    (town.out / "78-elm-street.json").rmdir()
    town.check()
    assert [one for one in town.announced.all[announced:] if one.snapshot is not None] == []
    assert town.rebuild().exit_code == 0


def test_so_many_files_of_nobody_are_held_until_that_is_confirmed(town: Town) -> None:
    """An empty store beside a part of the database: nothing stored is removed, but half of what was announced."""
    for user in range(100, 120):
        put_profile_file(town.out, user, ELM)
    for dry_run in (True, False):
        report = town.rebuild(dry_run=dry_run)
        assert (report.exit_code, report.blocked, report.removed) == (2, "20 of 24 files", 0)
        assert report.files["foreign"] == 20
    assert town.rebuild(dry_run=True, prune_all=True).exit_code == 1
    report = town.rebuild(prune_all=True)
    assert (report.exit_code, report.blocked, report.removed) == (1, None, 20)
    town.check()
    assert town.rebuild().exit_code == 0


@pytest.mark.parametrize("table", ["user_attributes", "request_comments", "comment_llm_analyses"])
def test_what_vanishes_while_a_rebuild_runs_is_held_until_that_is_confirmed(
    town: Town, wb: WhiteBalloon, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """Detection saw all of it; the repair reads again."""
    request, users = wb.add_group("ash", "Ash", members=22)
    for user in users:
        wb.analyse(wb.comment(user, request, "early"), tags=["tag"])
    assert town.rebuild().missing == 22
    for comment in range(7, 29):
        wb.edit(comment, "later https://later.org")
    detect = Detection.detect

    def vanish(detection: Detection) -> DetectionResult:
        found = detect(detection)
        engine = wb.insights if table == "comment_llm_analyses" else wb.main
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608 - one of three names
        return found

    monkeypatch.setattr(Detection, "detect", vanish)
    before = {name: one["message_count"] for name, one in town.files().items()}
    report = town.rebuild()
    assert report.blocked is not None
    assert (report.exit_code, report.removed, report.in_step) == (2, 0, 0), "nobody knows what is in step"
    assert "of 26 profiles" in report.blocked or "tags" in report.blocked
    views = town.projection.read_current(town.store.profiles(0, EVERYTHING))
    shown = [one for key, view in views.items() if (one := build(key, view.head)) is not None]
    assert sum(one.message_count for one in shown) == sum(before.values())
    assert sum(bool(one.top_tags) for one in shown) == 23
    monkeypatch.setattr(Detection, "detect", detect)
    assert town.rebuild().blocked is not None
    assert town.rebuild(prune_all=True).blocked is None
    town.check()


def test_a_run_for_one_group_sees_that_the_titles_of_others_vanished_too(town: Town, wb: WhiteBalloon) -> None:
    """By itself, the only title of a group looks like a request that somebody renamed."""
    requests = []
    for slug, name in (("ash", "Ash"), ("fir", "Fir")):
        request, users = wb.add_group(slug, name, members=22)
        requests.append(request)
        for user in users:
            wb.comment(user, request, "early")
    assert town.rebuild().missing == 44
    ash = town.out.parent / "ash"
    town.out, everything = ash, town.out
    assert town.rebuild(group_slug="ash").exit_code == 0
    for request in requests:
        wb.rename_request(request, None)
    report = town.rebuild(group_slug="ash")
    assert (report.exit_code, report.removed) == (2, 0)
    assert report.blocked is not None
    wb.rename_request(requests[1], "[Signal] Fir")
    assert town.rebuild(group_slug="ash").removed == 22
    town.out = everything
    assert town.rebuild().blocked is None
    town.check()


def test_changes_of_the_rows_that_no_event_brought_are_found(street: Street, town: Town, wb: WhiteBalloon) -> None:
    wb.edit(street.linked, "see https://a.org/x now")
    wb.analyse(street.linked, tags=["new"])
    wb.remove_analysis(street.tagged)
    wb.restore(street.deleted)
    wb.hard_delete(street.lone)
    before = town.files()
    dry = town.rebuild(dry_run=True)
    assert town.files() == before
    report = town.rebuild()
    assert report.named == dry.named
    assert sorted(report.named) == [
        (ANN, ELM, "different", ("reaction_counts", "top_links", "top_tags"), "drift"),
        (BEN, ELM, "different", ("last_seen_at", "message_count", "top_links"), "drift"),
        (CEM, OAK, "orphaned", ("message_count",), "drift"),
    ]
    assert report.fields == {
        "last_seen_at": 1, "message_count": 2, "reaction_counts": 1, "top_links": 2, "top_tags": 1
    }  # fmt: skip
    assert (report.in_step, report.profiles, report.exit_code) == (1, 4, 1)
    town.check()
    assert town.rebuild(deep=True).exit_code == 0


def test_comments_that_moved_or_whose_membership_or_title_changed_are_found(town: Town, wb: WhiteBalloon) -> None:
    oak_request = 2
    wb.move(4, user_id=ANN)
    wb.leave(ANN, OAK)
    wb.join(CEM, ELM, "Elm Street")
    report = town.rebuild()
    assert {one[:3] for one in report.named} == {
        (ANN, ELM, "different"), (ANN, OAK, "orphaned"), (BEN, ELM, "different"), (CEM, ELM, "missing")
    }  # fmt: skip
    town.check()
    wb.rename_request(oak_request, "Oak Row no more")
    assert town.rebuild().orphaned == 1
    town.check()
    wb.rename_request(oak_request, "[Signal] Oak Row")
    assert town.rebuild().missing == 1
    town.check()
    assert town.rebuild(deep=True).exit_code == 0


def test_a_newer_event_that_comes_meanwhile_wins_over_a_repair(
    street: Street, town: Town, wb: WhiteBalloon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row changes after it was read, and the live path is faster than the repair."""
    wb.edit(street.linked, "https://old.org")
    apply = town.projection.apply

    def apply_late(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - those of Projection.apply
        monkeypatch.setattr(town.projection, "apply", apply)
        wb.edit(street.linked, "https://new.org")
        town.apply_rows()
        apply(*args, **kwargs)

    monkeypatch.setattr(town.projection, "apply", apply_late)
    assert town.rebuild().drift == 1
    assert town.projection.apply is apply
    assert town.rebuild(deep=True).drift == 0
    town.check()


def test_a_repair_wins_over_a_revision_that_is_ahead_of_the_clock(street: Street, town: Town, wb: WhiteBalloon) -> None:
    town.apply_rows(revision=town.moment + 200_000_000)
    wb.edit(street.linked, "https://new.org")
    wb.analyse(street.linked, tags=["new"])
    wb.hard_delete(street.lone)
    assert town.rebuild().drift == 2
    town.check()


def test_repairs_of_some_users_leave_the_others_alone(street: Street, town: Town, wb: WhiteBalloon) -> None:
    wb.edit(street.linked, "https://new.org")
    wb.restore(street.deleted)
    assert town.rebuild(BEN).fields == {"last_seen_at": 1, "message_count": 1, "top_links": 1}
    assert town.rebuild().named == [(ANN, ELM, "different", ("reaction_counts", "top_links"), "drift")]
    assert town.rebuild(deep=True).exit_code == 0


def test_repairs_fix_what_no_event_does(street: Street, town: Town) -> None:
    lose_head(street)
    assert differences(town.store, town.database) == []
    assert town.rebuild().drift == 1
    assert town.rebuild(deep=True).exit_code == 0


def test_an_unknown_user_and_an_unknown_group_are_refused(town: Town) -> None:
    with pytest.raises(OperatorError, match="user 77 has no comment"):
        town.rebuild(77)
    with pytest.raises(OperatorError, match="no group 'oak'; the groups are: elm-street, oak/row"):
        town.rebuild(group_slug="oak")


def test_one_group_limits_the_files_and_the_report(street: Street, wb: WhiteBalloon) -> None:
    town = street.town
    report = town.rebuild(group_slug=ELM)
    assert (report.missing, report.profiles, report.written) == (2, 2, 2)
    town.check(ELM)
    assert {key.group_slug for key in town.store.profiles(0, EVERYTHING)} == {ELM}
    wb.edit(street.linked, "https://new.org")
    wb.edit(street.lone, "https://new.org")
    report = town.rebuild(group_slug=ELM)
    assert [one[:2] for one in report.named] == [(ANN, ELM)]
    town.check(ELM)
    assert sorted(town.files()) == [f"{ANN}.json", f"{BEN}.json"]
    assert town.rebuild(group_slug=ELM, deep=True).exit_code == 0


def test_a_row_that_cannot_be_understood_is_left_out_and_named(street: Street, town: Town, wb: WhiteBalloon) -> None:
    with wb.main.begin() as connection:
        connection.exec_driver_sql("UPDATE request_comments SET created_at = 'soon' WHERE id = ?", (street.linked,))
    report = town.rebuild()
    assert list(report.invalid_rows) == [street.linked]
    assert "created_at" in report.invalid_rows[street.linked]
    assert report.drift == 1
    again = town.rebuild()
    assert (again.exit_code, list(again.invalid_rows)) == (0, [street.linked])


def test_what_a_rebuild_ended_is_kept_for_a_day_while_a_tail_runs(street: Street, town: Town, wb: WhiteBalloon) -> None:
    """An older event that is still on its way must not bring back what is gone."""
    town.store.lease(TAIL, "another", 3600.0)
    wb.hard_delete(street.lone)
    report = town.rebuild(lag_seconds=0.0)
    assert (report.undecided, report.removed, report.pruned) == (1, 1, 0)
    late = CommentCreated(
        comment_id=street.lone, user_id=CEM, group_slug=OAK, help_request_id=2, body="trees",
        created_at=datetime(2024, 6, 1), revision=town.moment - 5,  # noqa: DTZ001 - as WhiteBalloon stores times
    )  # fmt: skip
    town.projection.apply([late])
    town.check()
    assert town.rebuild().exit_code == 0
    town.later(DAY)
    assert town.rebuild().pruned == 1
    assert CEM_OAK not in town.store.profiles(0, EVERYTHING)

"""Lag is not drift: what the tail is still about to bring, what it had its chance to, and what nobody can know."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from projections.comments.events import CommentCreated, InsightCreated
from projections.comments.rows import events
from projections.profile_key import BUCKETS
from projections.projection import RULES_VERSION, Fence
from projections.store.protocol import InitialPositions
from projections.watermark import TAIL, Watermark
from snapshot.processes.spawn import Inline
from snapshot.rebuild.detect import Detection
from snapshot.rebuild.report import Report
from snapshot.runtime.progress import NoProgress
from support.rebuilding import Town
from support.stores import NEVER, NOW, Bench
from support.whiteballoon import WhiteBalloon

SECOND = 1_000_000
BOTH = pytest.mark.parametrize("dry_run", [False, True])


class Tail:
    """Plays the tail that holds the lease, and the consumers of what it hands on."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.position = self.taken = 0
        self.waiting = list[CommentCreated | InsightCreated]()
        town.store.initialize(InitialPositions({"tail/0": 0}, {"tail": "1"}, RULES_VERSION))
        assert town.store.lease(TAIL, "the tail", NEVER)

    def hand_on(self, *, read_at: int | None = None) -> None:
        """Read all rows, as it does when something was committed."""
        town = self.town
        analyses = {row.comment_id: row for row in town.database.analyses_after(-1)}
        rows = town.database.comments_after(-1)
        self.waiting = list(events(rows, analyses, town.database.groups(), read_at or town.moment))
        self.position += 1

    def publish(self, *, until: int | None = None) -> None:
        """Say how far it is; without a time: up to now."""
        moment = self.town.moment if until is None else until
        mark = Watermark(
            polled_until=moment, swept_until=moment, begun_until=self.town.moment, positions={"tail/0": self.position}
        )
        assert self.town.store.put_document(TAIL, "the tail", msgspec.json.encode(mark))

    def take(self) -> None:
        """The consumers apply what was handed on."""
        fences = {bucket: Fence(0, {"tail/0": (self.taken, self.position)}) for bucket in range(BUCKETS)}
        self.town.projection.apply(self.waiting, fences)
        self.taken = self.position

    def go_on(self) -> None:
        """Do one whole round."""
        self.town.later()
        self.hand_on()
        self.take()
        self.publish()


@pytest.fixture
def wb(tmp_path: Path) -> WhiteBalloon:
    wb = WhiteBalloon.in_folder(tmp_path / "data")
    request, (ann, ben) = wb.add_group("elm", "Elm", members=2)
    for user in (ann, ben):
        wb.comment(user, request, "https://a.org")
    return wb


@pytest.fixture
def town(tmp_path: Path, wb: WhiteBalloon, bench: Bench) -> Iterator[Town]:
    town = Town(tmp_path, wb, bench.open(NOW), bench.wait)
    yield town
    town.database.close()
    town.store.close()


@pytest.fixture
def tail(town: Town) -> Tail:
    """A tail that has handed on all there is, and files that were written."""
    made = Tail(town)
    made.go_on()
    assert town.rebuild().exit_code == 0
    return made


def verdicts(report: Report) -> tuple[int, int, int, int]:
    """Drift, lag, undecided, exit code."""
    return report.drift, report.lag, report.undecided, report.exit_code


@BOTH
def test_what_the_tail_passed_and_did_not_bring_is_drift(tail: Tail, wb: WhiteBalloon, dry_run: bool) -> None:
    wb.edit(1, "https://b.org")
    tail.town.asleep = lambda: tail.publish(until=tail.town.moment + SECOND)  # it sees nothing
    report = tail.town.rebuild(dry_run=dry_run)
    assert verdicts(report) == (1, 0, 0, 1)
    assert report.in_step == 1


@BOTH
def test_what_it_had_passed_before_the_run_is_drift_at_once(tail: Tail, wb: WhiteBalloon, dry_run: bool) -> None:
    wb.edit(1, "https://b.org")
    tail.publish(until=tail.town.moment + 10 * SECOND)
    assert verdicts(tail.town.rebuild(dry_run=dry_run)) == (1, 0, 0, 1)


@BOTH
def test_what_the_tail_brings_meanwhile_is_lag(tail: Tail, wb: WhiteBalloon, dry_run: bool) -> None:
    wb.edit(1, "https://b.org")
    tail.town.asleep = tail.go_on
    assert verdicts(tail.town.rebuild(dry_run=dry_run)) == (0, 1, 0, 0)
    assert verdicts(tail.town.rebuild()) == (0, 0, 0, 0)
    tail.town.check()


def test_what_was_under_way_already_is_undecided_and_repaired(tail: Tail, wb: WhiteBalloon) -> None:
    """Its revision is lower than the repair's: afterwards nobody can tell it from an event that never came."""
    wb.edit(1, "https://b.org")
    tail.hand_on()
    tail.publish(until=tail.town.moment + 10 * SECOND)
    tail.town.asleep = tail.take
    assert verdicts(tail.town.rebuild()) == (0, 0, 1, 0)
    tail.town.check()
    assert verdicts(tail.town.rebuild(deep=True)) == (0, 0, 0, 0)


def test_a_dry_run_sees_that_what_was_under_way_has_come(tail: Tail, wb: WhiteBalloon) -> None:
    wb.edit(1, "https://b.org")
    tail.hand_on()
    tail.publish(until=tail.town.moment + 10 * SECOND)
    tail.town.asleep = tail.take
    assert verdicts(tail.town.rebuild(dry_run=True)) == (0, 1, 0, 0)


@pytest.mark.parametrize("began", [True, False])
def test_what_is_repaired_before_the_first_tail_has_read_everything_is_lag(town: Town, began: bool) -> None:
    """It found nothing left to bring."""
    tail = Tail(town)
    if began:
        tail.publish(until=0)
    town.asleep = lambda: tail.publish(until=town.moment + SECOND)
    assert verdicts(town.rebuild()) == (0, 2, 0, 0)
    town.check()


@BOTH
def test_a_tail_that_does_not_come_far_enough_leaves_it_undecided(tail: Tail, wb: WhiteBalloon, dry_run: bool) -> None:
    wb.edit(1, "https://b.org")
    report = tail.town.rebuild(dry_run=dry_run)
    assert verdicts(report) == (0, 0, 1, 0)
    assert [one[-1] for one in report.named] == ["undecided"]


@BOTH
def test_a_clock_that_is_set_back_makes_no_drift_of_lag(tail: Tail, wb: WhiteBalloon, dry_run: bool) -> None:
    tail.publish()
    wb.edit(1, "https://b.org")
    tail.town.moment -= 3_600 * SECOND
    assert verdicts(tail.town.rebuild(dry_run=dry_run)) == (0, 0, 1, 0)


@BOTH
def test_what_is_ahead_of_a_clock_that_was_set_back_is_undecided(tail: Tail, wb: WhiteBalloon, dry_run: bool) -> None:
    """The store refused what the tail brought: it is older than what a rebuild had read before."""
    wb.edit(1, "https://b.org")
    assert tail.town.rebuild().written == 1
    tail.town.moment -= 3_600 * SECOND
    wb.edit(1, "https://c.org")
    tail.go_on()
    tail.town.asleep = lambda: tail.publish(until=tail.town.moment + 3_601 * SECOND)
    assert verdicts(tail.town.rebuild(dry_run=dry_run)) == (0, 0, 1, 0)


@BOTH
def test_without_a_tail_it_is_drift_at_once(tail: Tail, wb: WhiteBalloon, dry_run: bool) -> None:
    wb.edit(1, "https://b.org")
    tail.town.store.release(TAIL, "the tail")
    assert verdicts(tail.town.rebuild(dry_run=dry_run)) == (1, 0, 0, 1)


def test_a_profile_that_contradicts_itself_is_drift_whatever_the_tail_does(tail: Tail) -> None:
    (key, _) = tail.town.store.profiles(0, 10)
    tail.town.put_head(key, lambda head: setattr(head, "count", 7))
    assert verdicts(tail.town.rebuild(deep=True)) == (1, 0, 0, 1)
    tail.town.check()


def test_of_two_differences_each_has_its_own_verdict(tail: Tail, wb: WhiteBalloon) -> None:
    wb.edit(1, "https://b.org")
    wb.edit(2, "https://b.org")

    def bring_one() -> None:
        tail.town.later()
        tail.hand_on()
        tail.waiting = [event for event in tail.waiting if event.comment_id == 1]
        tail.take()
        tail.publish()

    tail.town.asleep = bring_one
    assert verdicts(tail.town.rebuild(dry_run=True)) == (1, 1, 0, 1)


def test_of_what_is_too_much_to_remember_the_tail_tells_later(
    town: Town, wb: WhiteBalloon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snapshot.rebuild.detect._MAX_SIGHTINGS", 1)
    tail = Tail(town)
    tail.go_on()
    for comment in (1, 2):
        wb.edit(comment, "https://b.org")
    town.later()
    tail.publish()
    work = town.work(dry_run=True)
    assert len(Detection(work, Inline(work), None, NoProgress()).detect().sightings) == 1

    def pass_by() -> None:
        town.later()
        tail.publish()

    town.asleep = pass_by
    report = town.rebuild()
    assert (report.different, report.lag, report.undecided) == (2, 0, 0)
    town.check()

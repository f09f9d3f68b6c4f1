"""The fold alone, without a store: what a batch changes."""

import random

import pytest

from projections.comments.events import Event
from projections.comments.register import Register, half_of
from projections.profile_key import ProfileKey
from projections.profiles import fold
from projections.profiles.fold import Changes, Slice, advance, aggregate, touched_labels, transitions
from projections.profiles.head import Head
from projections.profiles.ranking import KEPT, LabelStats
from projections.projection import ProfileView
from support import naive
from support.histories import as_model, comment, insight, spelled

KEY = ProfileKey(7, "lions")


class Whole:
    """A profile that is wholly in memory, folded event by event."""

    def __init__(self) -> None:
        self.part = Slice(Head(), {}, {}, {})

    def fold(self, *batch: Event) -> Changes:
        changes = advance(self.part, transitions(self.part.registers, map(half_of, batch)))
        self.part.head = changes.head
        self.part.registers.update(changes.registers)
        for labels, changed in ((self.part.links, changes.links), (self.part.tags, changes.tags)):
            labels.update({name: label for name, label in changed.items() if label is not None})
            for name in [name for name, label in changed.items() if label is None]:
                del labels[name]
        return changes

    def seen(self) -> naive.Counted:
        return spelled(ProfileView(b"", self.part.head))


def test_a_comment_and_its_insight_count_once_each() -> None:
    whole = Whole()
    changes = whole.fold(comment(KEY, 1, 1, "https://a.org https://a.org"), insight(KEY, 1, 1, ("tag",)))
    assert changes.dirty
    assert whole.part.head.count == 1
    assert changes.links.keys() == {"https://a.org/"}
    assert whole.seen().links == [("https://a.org/", 2)]
    assert whole.seen().tags == [("tag", 1)]


def test_an_insight_before_its_comment_waits_in_the_register() -> None:
    whole = Whole()
    changes = whole.fold(insight(KEY, 1, 1, ("tag",)))
    assert (changes.dirty, changes.tags, whole.part.head.count) == (True, {}, 0)
    whole.fold(comment(KEY, 1, 1))
    assert whole.seen().tags == [("tag", 1)]


def test_a_deletion_takes_everything_out_and_a_restoration_brings_everything_back() -> None:
    whole = Whole()
    text = "https://a.org\n(Reactions: Ann 👍)\n[attachments: a.png]"
    whole.fold(comment(KEY, 1, 1, text), insight(KEY, 1, 1, ("tag",)))
    before = whole.seen()
    changes = whole.fold(comment(KEY, 1, 2, state=1))
    assert changes.links == {"https://a.org/": None}
    assert changes.tags == {"tag": None}
    assert whole.seen() == naive.counted({})._replace(digest=whole.seen().digest)
    whole.fold(comment(KEY, 1, 3, text))
    assert whole.seen() == before


def test_an_insight_of_a_deleted_comment_shows_when_it_is_restored() -> None:
    whole = Whole()
    whole.fold(comment(KEY, 1, 1))
    whole.fold(comment(KEY, 1, 2, state=1))
    assert whole.fold(insight(KEY, 1, 5, ("tag",))).tags == {}
    whole.fold(comment(KEY, 1, 3))
    assert whole.seen().tags == [("tag", 1)]


def test_equal_content_is_not_dirty() -> None:
    whole = Whole()
    whole.fold(comment(KEY, 1, 1, "https://a.org"))
    again = whole.fold(comment(KEY, 1, 2, "https://a.org"))
    assert (again.dirty, again.links, again.registers[1].comment_revision) == (False, {}, 2)
    assert whole.fold(comment(KEY, 1, 2, "https://a.org")).registers == {}


def test_the_cause_is_what_changed_last() -> None:
    whole = Whole()
    whole.fold(comment(KEY, 5, 1), comment(KEY, 3, 1))
    assert whole.part.head.cause == ("comment-created", 5)
    whole.fold(insight(KEY, 3, 1, ("tag",)))
    assert whole.part.head.cause == ("insight-created", 3)
    whole.fold(comment(KEY, 5, 9))
    assert whole.part.head.cause == ("insight-created", 3), "a newer reading of the same is no cause"
    for number, state in ((10, 1), (11, 2)):
        whole.fold(comment(KEY, 5, 2 * number, state=state))
        assert whole.part.head.cause == ("comment-deleted", 5)
        whole.fold(comment(KEY, 5, 2 * number + 1, "restored"))
        assert whole.part.head.cause == ("comment-created", 5)
    whole.fold(insight(KEY, 3, 2, ("other tag",)))
    whole.fold(comment(KEY, 5, 30, "https://a.org"))
    assert whole.part.head.cause == ("comment-created", 5)


def test_edits_never_need_a_recompute() -> None:
    """A comment that keeps its time keeps its place among the first, however often it is edited."""
    whole = Whole()
    for number in range(1, 10):
        whole.fold(comment(KEY, number, 0, "https://a.org", minute=number), insight(KEY, number, 0, ("tag",)))
    for revision in range(1, 6):
        for number in range(9, 0, -1):
            whole.fold(
                comment(KEY, number, revision, f"https://b.org/{revision} https://a.org", minute=number),
                insight(KEY, number, revision, (f"other {revision}", "tag")),
            )
            assert not whole.part.head.needs_recompute()
    assert whole.part.links["https://a.org/"].first.kept[0][1:] == (1, 1)


def test_a_batch_that_empties_a_profile_and_fills_it_again_needs_no_recompute() -> None:
    whole = Whole()
    whole.fold(*[comment(KEY, number, 1, minute=number) for number in range(1, 10)])
    deleted = [comment(KEY, number, 2, minute=number, state=1) for number in range(1, 10)]
    whole.fold(*deleted, comment(KEY, 10, 1, minute=10))
    assert not whole.part.head.needs_recompute()
    assert whole.part.head.first.complete


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_batch_that_leaves_few_comments_needs_a_recompute_unless_it_leaves_none(left: int) -> None:
    whole = Whole()
    whole.fold(*[comment(KEY, number, 1, minute=number) for number in range(1, 10)])
    whole.fold(*[comment(KEY, number, 2, minute=number, state=1) for number in range(1, 10 - left)])
    assert whole.part.head.count == left
    assert whole.part.head.needs_recompute() == (left > 0)


@pytest.mark.parametrize(("text", "found"), [("", ("tag", "every")), ("https://a.org", ("every",))])
def test_a_label_whose_first_comments_are_not_known_needs_a_recompute(text: str, found: tuple[str, ...]) -> None:
    """However well the other labels and the first comments of the profile are known."""
    whole = Whole()
    for number in range(1, 10):
        both = insight(KEY, number, 1, ("tag", "every"))
        whole.fold(comment(KEY, number, 1, "https://a.org https://every.org", minute=number), both)
    for number in range(1, KEPT + 1):
        assert not whole.part.head.needs_recompute()
        edited = comment(KEY, number, 2, f"{text} https://every.org", minute=number)
        whole.fold(edited, insight(KEY, number, 2, found))
    assert whole.part.head.needs_recompute()


def test_too_many_retractions_of_the_first_ones_need_a_recompute_until_all_is_gone_or_read_again() -> None:
    whole = Whole()
    for number in range(1, 10):
        whole.fold(comment(KEY, number, 1, "https://a.org", minute=number))
    for number in range(1, KEPT):
        whole.fold(comment(KEY, number, 2, minute=number, state=1))
        assert not whole.part.head.needs_recompute()
    whole.fold(comment(KEY, KEPT, 2, minute=KEPT, state=1))
    assert whole.part.head.needs_recompute()
    whole.fold(comment(KEY, 1, 3, "https://c.org", minute=1))
    assert whole.part.head.needs_recompute(), "what is not known stays so"
    assert not aggregate(whole.part.registers).head.needs_recompute()


def test_transitions_are_in_order_and_leave_out_what_changes_nothing() -> None:
    known = {2: Register(5, None, -1, ())}
    batch: list[Event] = [comment(KEY, 9, 1), comment(KEY, 2, 4), insight(KEY, 4, 1), comment(KEY, 9, 2, state=1)]
    moves = transitions(known, map(half_of, batch))
    assert [move.comment_id for move in moves] == [4, 9]
    assert moves[1].new.comment_revision == 2


def test_labels_before_and_after_are_touched_unless_the_comment_does_not_count() -> None:
    old: list[Event] = [
        comment(KEY, 1, 1, "https://old.org"),
        insight(KEY, 1, 1, ("old",)),
        insight(KEY, 2, 1, ("unseen",)),
    ]
    known = {move.comment_id: move.new for move in transitions({}, map(half_of, old))}
    new: list[Event] = [
        comment(KEY, 1, 2, "https://new.org"),
        insight(KEY, 1, 2, ("new",)),
        insight(KEY, 2, 2, ("still unseen",)),
    ]
    moves = transitions(known, map(half_of, new))
    assert touched_labels(moves) == ({"https://old.org/", "https://new.org/"}, {"old", "new"})


@pytest.mark.parametrize("seed", range(20))
def test_folding_a_slice_equals_folding_everything_again(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  no secret is made of it
    whole = Whole()
    for step in range(150):
        number = chance.randrange(1, 15)
        links = " ".join(f"https://example.org/{chance.randrange(25)}" for _ in range(chance.randrange(6)))
        tags = tuple(f"tag {chance.randrange(25)}" for _ in range(chance.randrange(6)))
        state = chance.choice((0, 0, 0, 1, 2))
        whole.fold(
            comment(KEY, number, step, links, minute=chance.randrange(9), state=state), insight(KEY, number, step, tags)
        )
        recomputed = aggregate(whole.part.registers)
        assert len(whole.part.head.digest) == 16
        assert recomputed.head.digest == whole.part.head.digest
        assert _counts(recomputed.links) == {name: label.count for name, label in whole.part.links.items()}
        assert _counts(recomputed.tags) == {name: label.count for name, label in whole.part.tags.items()}
        if not whole.part.head.needs_recompute():
            assert spelled(ProfileView(b"", recomputed.head)) == whole.seen()
            assert whole.seen() == naive.counted(as_model(whole.part.registers))


def _counts(labels: dict[str, LabelStats | None]) -> dict[str, int]:
    return {name: label.count for name, label in labels.items() if label is not None}


def test_a_recompute_in_progress_learns_what_changed_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "MAX_TOUCHED", 3)
    whole = Whole()
    whole.fold(comment(KEY, 1, 1))
    whole.part.head.recomputer = "another"
    whole.fold(comment(KEY, 2, 1), comment(KEY, 1, 5), insight(KEY, 2, 1, ("tag",)))
    assert whole.part.head.touched == [2], "equal content touches nothing"
    whole.fold(comment(KEY, 2, 2, "https://a.org"), comment(KEY, 3, 1))
    assert whole.part.head.touched == [2, 3]
    whole.fold(comment(KEY, 9, 1))
    assert (whole.part.head.recomputer, whole.part.head.touched) == ("another", [2, 3, 9]), "as many as the limit says"
    whole.fold(comment(KEY, 4, 1), comment(KEY, 5, 1))
    assert (whole.part.head.recomputer, whole.part.head.touched) == ("", [])


def test_nothing_is_changed_by_nothing() -> None:
    changes = advance(Slice(Head(), {}, {}, {}), [])
    assert (changes.dirty, changes.head, changes.registers) == (False, Head(), {})

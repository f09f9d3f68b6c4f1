"""What must hold of a profile in the store at any moment, recomputed or not."""

from projections.codec import is_link, read_registers, unpack_head, unpack_label
from projections.comments.register import LIVE, Register
from projections.profile_key import ProfileKey
from projections.profiles.ranking import Appearance, EarliestComments, LabelStats, Ranking
from projections.store.protocol import HEAD, Store
from support import naive
from support.histories import as_model

Uses = dict[str, list[tuple[Appearance, int]]]


def check_aggregates(store: Store, key: ProfileKey) -> bool:
    """Hold a profile's aggregates against its registers; whether it is flagged for a recompute."""
    fields = dict(store.scan(key))
    registers = read_registers(fields.items())
    if HEAD not in fields:
        assert naive.counted(as_model(registers)) == naive.counted({})
        return False
    head = unpack_head(fields[HEAD])
    expected = naive.counted(as_model(registers))
    exact = (head.count, head.requests, head.reactions, head.attachments, int.from_bytes(head.digest, "big"))
    assert exact == (expected.comments, expected.requests, expected.reactions, expected.attachments, expected.digest)
    links, tags = _uses(registers)
    stored = {name: unpack_label(value) for name, value in fields.items() if name[:1] in b"lt"}
    for uses, ranking, kind in ((links, head.links, True), (tags, head.tags, False)):
        labels = {name[1:].decode(): label for name, label in stored.items() if is_link(name) == kind}
        _check_labels(labels, uses, flagged=head.needs_recompute())
        if not head.needs_recompute():
            _check_ranking(ranking, labels)
    moments = [(one.comment.created_at, number, 0) for number, one in registers.items() if _live(one) and one.comment]
    _check_extremes(head.first, sorted(moments), flagged=head.needs_recompute())
    _check_extremes(head.last, sorted((-at, -number, 0) for at, number, _ in moments), flagged=head.needs_recompute())
    return head.needs_recompute()


def _live(register: Register) -> bool:
    return register.comment is not None and register.comment.state == LIVE


def _uses(registers: dict[int, Register]) -> tuple[Uses, Uses]:
    links: Uses = {}
    tags: Uses = {}
    for number, one in registers.items():
        if one.comment is not None and _live(one):
            for url, position, times in one.comment.links:
                links.setdefault(url, []).append(((one.comment.created_at, number, position), times))
            for position, name in enumerate(one.labels):
                tags.setdefault(name, []).append(((one.comment.created_at, number, position), 1))
    return links, tags


def _check_labels(labels: dict[str, LabelStats], uses: Uses, *, flagged: bool) -> None:
    assert {name: label.count for name, label in labels.items()} == {
        name: sum(times for _, times in mine) for name, mine in uses.items()
    }
    for name, label in labels.items():
        _check_extremes(label.first, sorted(where for where, _ in uses[name]), flagged=flagged)


def _check_extremes(extremes: EarliestComments, everything: list[Appearance], *, flagged: bool) -> None:
    assert extremes.kept == everything[: len(extremes.kept)], "what is kept is not the first"
    assert not extremes.complete or len(extremes.kept) == len(everything)
    assert flagged or bool(extremes.kept) == bool(everything)


def _check_ranking(ranking: Ranking, labels: dict[str, LabelStats]) -> None:
    listed = {leader[4]: leader[:4] for leader in ranking.leaders}
    assert ranking.leaders == sorted(ranking.leaders)
    assert len(listed) == len(ranking.leaders)
    for name, rank in listed.items():
        assert rank == labels[name].rank()
    rest = [label.rank() for name, label in labels.items() if name not in listed]
    if ranking.cutoff is None:
        assert not rest
    else:
        assert all(rank < ranking.cutoff for rank in listed.values())
        assert all(rank >= ranking.cutoff for rank in rest)

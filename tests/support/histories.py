"""Histories of events for property tests: few profiles and comments, many links and tags, and every kind of change."""

import itertools
from collections.abc import Iterable
from datetime import datetime, timedelta

from hypothesis import strategies as st

from projections.comments.events import CommentCreated, Event, InsightCreated
from projections.comments.register import Register
from projections.profile_key import ProfileKey
from projections.projection import ProfileView, Projection
from support import naive

KEYS = (ProfileKey(7, "lions"), ProfileKey(7, "tigers"), ProfileKey(8, "lions"))
LINKS, TAGS = 20, 24
"""More than a head lists, so that rankings overflow."""

_MORNING = datetime(2024, 5, 1, 8)  # noqa: DTZ001  UTC, as stored
_LATER = datetime(2024, 5, 2)  # noqa: DTZ001  UTC, as stored
_MARKS = ("", "(Reactions: Ann 👍, Ben ❤)", "[attachments: a.png, b.pdf]", "(Reactions: Cem 👍)\n[attachments: c]")


def body(mask: int, marks: int = 0, repeated: int = 0) -> str:
    """A text that names the links of a bit mask, some of them twice."""
    lines = [f"see https://example.org/{bit} " * (2 if repeated >> bit & 1 else 1) for bit in bits(mask, LINKS)]
    return "\n".join([*lines, _MARKS[marks % len(_MARKS)]])


def labels(mask: int) -> tuple[str, ...]:
    """The labels of a bit mask."""
    return tuple(f"label {bit}" for bit in bits(mask, TAGS))


def bits(mask: int, size: int) -> Iterable[int]:
    """The numbers of the bits that are set."""
    return (bit for bit in range(size) if mask >> bit & 1)


def comment(  # noqa: PLR0913  each is a field that a test may vary
    key: ProfileKey,
    comment_id: int,
    revision: int,
    text: str = "",
    *,
    minute: int = 0,
    request: int = 1,
    state: int = 0,
) -> CommentCreated:
    """A reading of a comment; state 0 live, 1 deleted, 2 gone."""
    return CommentCreated(
        comment_id=comment_id,
        user_id=key.user_id,
        group_slug=key.group_slug,
        help_request_id=request,
        body=text,
        created_at=_MORNING + timedelta(minutes=minute),
        deleted_at=_LATER if state == 1 else None,
        gone=state == 2,
        revision=revision,
    )


def insight(key: ProfileKey, comment_id: int, revision: int, found: tuple[str, ...] = ()) -> InsightCreated:
    """A reading of an analysis."""
    return InsightCreated(
        comment_id=comment_id,
        user_id=key.user_id,
        group_slug=key.group_slug,
        resource_tags=found[:2],
        request_tags=found[1:3],
        tags=found[3:],
        revision=revision,
    )


def _masks(size: int) -> st.SearchStrategy[int]:
    everything = 2**size - 1
    return st.one_of(st.just(0), st.just(everything), st.integers(0, everything), st.integers(0, everything))


_keys = st.sampled_from((*KEYS, KEYS[0], KEYS[0]))
_numbers = st.integers(1, 9)
_revisions = st.integers(0, 12)

comments: st.SearchStrategy[Event] = st.builds(
    comment,
    _keys,
    _numbers,
    _revisions,
    st.builds(body, _masks(LINKS), st.integers(0, 3), _masks(LINKS)),
    minute=st.integers(0, 5),
    request=st.integers(1, 3),
    state=st.sampled_from((0, 0, 0, 0, 1, 2)),
)
insights: st.SearchStrategy[Event] = st.builds(
    insight, _keys, _numbers, _revisions, st.one_of(st.just(()), _masks(TAGS).map(labels))
)
events = st.one_of(comments, comments, insights)
_scattered = st.lists(events, min_size=1, max_size=60)


@st.composite
def _retracting(draw: st.DrawFn) -> list[Event]:
    """A profile whose comments all name nearly everything, and then, from the first on, lose it again."""
    key = KEYS[0]
    most = st.sampled_from((0, 0, 0, 1, 2, 4, 5))
    everything = st.integers(0, 2**TAGS - 1).map(lambda mask: 2**TAGS - 1 - (mask & mask >> 1 & mask >> 2))
    built: list[Event] = []
    for number in range(1, 10):
        built.append(comment(key, number, 0, body(draw(everything), number), minute=number))
        built.append(insight(key, number, 0, labels(draw(everything))))
    for number in range(1, draw(st.integers(5, 8))):
        if draw(most) < 4:
            built.append(comment(key, number, 1, minute=number, state=draw(st.integers(0, 2))))
        else:
            built.append(insight(key, number, 1))
    return [*built, *draw(st.lists(events, max_size=15))]


histories = st.one_of(_scattered, _retracting())


@st.composite
def deliveries(draw: st.DrawFn, history: list[Event]) -> list[list[Event]]:
    """The events in any order (their own one too), some of them again, in batches of any size."""
    again = draw(st.lists(st.sampled_from(history), max_size=20))
    order = [*history, *again]
    if draw(st.booleans()):
        order = draw(st.permutations(order))
    cuts = sorted(draw(st.sets(st.integers(1, len(order)), max_size=12)))
    return [order[begin:end] for begin, end in itertools.pairwise([0, *cuts, len(order)])]


def shown(projection: Projection, key: ProfileKey) -> naive.Counted:
    """What the projection shows of a profile, as the model spells it."""
    return spelled(projection.read_current([key])[key])


def spelled(found: ProfileView) -> naive.Counted:
    """A head as the model spells it."""
    head = found.head
    if head is None:
        return naive.counted({})
    return naive.Counted(
        head.count,
        head.first.kept[0][0] if head.count else None,
        -head.last.kept[0][0] if head.count else None,
        head.requests,
        head.reactions,
        head.attachments,
        [(leader[4], -leader[0]) for leader in head.links.leaders[: naive.TOP_N]],
        [(leader[4], -leader[0]) for leader in head.tags.leaders[: naive.TOP_N]],
        int.from_bytes(head.digest, "big"),
    )


def as_model(registers: dict[int, Register]) -> dict[int, naive.Comment]:
    """Registers as the model has comments."""
    return {
        number: naive.Comment(
            None
            if one.comment is None
            else (
                one.comment.state,
                one.comment.created_at,
                one.comment.help_request_id,
                one.comment.links,
                one.comment.reactions,
                one.comment.attachments,
            ),
            one.labels,
            (one.comment_revision, one.insight_revision),
        )
        for number, one in registers.items()
    }


def check(projection: Projection, delivered: Iterable[Event]) -> None:
    """Hold the projection against the model: all profiles, all registers, all that is shown."""
    expected = naive.latest(delivered)
    for key in KEYS:
        comments_ = expected.get(key, {})
        assert as_model(projection.registers(key)) == comments_, key
        assert shown(projection, key) == naive.counted(comments_), key

"""A rebuild in the middle of everything: rows, the tail and deliveries move at every step of it, and it may be killed.

Whatever happens, and whatever the tail missed before, once the tail and the deliveries have caught up nothing differs;
and while a tail works, nothing of what it is about to bring is called drift.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from projections.comments.events import CommentCreated, Event
from projections.comments.rows import AnalysisRow, CommentRow, events, insight
from projections.profile_key import BUCKETS, ProfileKey
from projections.projection import RULES_VERSION, Fence, Projection
from projections.store.memory import MemoryStore
from projections.store.protocol import InitialPositions
from projections.watermark import TAIL, Watermark
from support.aggregates import check_aggregates
from support.rebuilding import EVERYTHING, Town
from support.stores import NEVER, NOW, Clock
from support.whiteballoon import WhiteBalloon

ANN, BEN = 1, 2
ELM, OAK = 1, 2
COMMENTS = 6
BODIES = ("hello", "https://a.org", "https://a.org https://b.org", "(Reactions: Ben 👍)", "https://c.org")
TAGS = (("a",), ("a", "b"), ("c", "b"), ())

Acts = list[tuple[int, int, int, int]]
"""What is done, about which comment, a value that says more, and how many pauses pass before the next."""
_KILL = (13, 0, 0, 0)
_CHANGE_GROUPS = 10


class KilledError(Exception):
    """The end of a process, wherever it was."""


class Pausing:
    """Hands everything on, and lets others act before and after each call."""

    def __init__(self, inner: Any, pause: Callable[[], None]) -> None:  # noqa: ANN401  a store or a database
        self._inner = inner
        self._pause = pause

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever it has
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401  of that method
            self._pause()
            result = found(*arguments, **options)
            self._pause()
            return result

        return call

    def scan(self, key: ProfileKey) -> Iterator[tuple[bytes, bytes]]:
        """Field by field, as HSCAN does: what is written meanwhile may be seen."""
        for name, _ in list(self._inner.scan(key)):
            self._pause()
            yield from self._inner.load({key: (name,)})[key].fields.items()


class Live:
    """The rows' writers, the tail and its consumers, each doing one thing when asked.

    Without a tail, the writers publish each of their commits themselves.
    """

    def __init__(self, town: Town, *, tails: bool) -> None:
        self.town = town
        self.wb = town.wb
        self.projection = Projection(town.store)
        self.tails = tails
        self.changed: dict[int, None] = {}
        self.unheard = False
        self.placed: dict[int, set[ProfileKey]] = {}
        self.revision = 0
        self.queue: list[Event] = []
        self.taken = 0
        if tails:
            town.store.initialize(InitialPositions({"tail/0": 0}, {"tail": "1"}, RULES_VERSION))
            assert town.store.lease(TAIL, "tail", 10 * NEVER)

    # -- rows ----------------------------------------------------------------------------------------------------

    def write(self, number: int, what: int, value: int) -> None:
        """One commit about the comment of that number."""
        rows = {row.comment_id for row in self.town.database.comments_by_ids([number])}
        if number not in rows:
            self.wb.comment(ANN + value % 2, ELM + value // 2 % 2, BODIES[value % len(BODIES)], comment_id=number)
        else:
            ways: list[Callable[[], object]] = [
                lambda: self.wb.edit(number, BODIES[value % len(BODIES)]),
                lambda: self.wb.soft_delete(number),
                lambda: self.wb.restore(number),
                lambda: self.wb.hard_delete(number),
                lambda: self.wb.move(number, user_id=ANN + value % 2),
                lambda: self.wb.move(number, request_id=ELM + value % 2),
                lambda: self.wb.analyse(number, tags=TAGS[value % len(TAGS)]),
                lambda: self.wb.remove_analysis(number),
            ]
            ways[what % len(ways)]()
        self.change(number)

    def change_groups(self, value: int) -> None:
        """One membership begins or ends, or a request gets another title."""
        if value % 3 == 0:
            self.wb.leave(BEN, "oak")
        elif value % 3 == 1:
            self.wb.join(BEN, "oak", "Oak")
        else:
            self.wb.rename_request(OAK, "[Signal] Oak" if value // 3 % 2 else "Oak")
        self.change(*range(1, COMMENTS + 1))

    def change(self, *numbers: int) -> None:
        self.changed.update(dict.fromkeys(numbers))
        while self.changed and not self.tails and not self.unheard:
            self.look()

    def forget(self, acts: Acts) -> None:
        """Commits of which nothing is published, by some mistake; only where the comments are now is known."""
        changed = dict(self.changed)
        self.unheard = True
        for what, number, value, _ in acts:
            if what > _CHANGE_GROUPS:
                self.change_groups(value)
            else:
                self.write(1 + number % COMMENTS, what, value)
        self.changed, self.unheard = changed, False
        groups = self.town.database.groups()
        for row in self.town.database.comments_after(-1):
            keys = {ProfileKey(row.user_id, slug) for slug in groups.slugs(row.user_id, row.help_request_id)}
            self.placed[row.comment_id] = self.placed.get(row.comment_id, set()) | keys

    # -- the tail ------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Read the comment that changed first, and hand its whole state on, under a revision taken after the read."""
        if not self.changed:
            return
        number = next(iter(self.changed))
        del self.changed[number]
        database = self.town.database
        groups = database.groups()
        rows = database.comments_by_ids([number])
        analyses = database.analyses_by_ids([number])
        self.town.later(1)
        self.revision = max(self.revision + 1, self.town.moment)
        self.queue += self._said(number, rows, analyses, list(events(rows, analyses, groups, self.revision)))

    def _said(
        self, number: int, rows: list[CommentRow], analyses: dict[int, AnalysisRow], present: list[Event]
    ) -> list[Event]:
        keys = {ProfileKey(one.user_id, one.group_slug) for one in present}
        if not analyses:
            present += [insight(row, key.group_slug, None, self.revision) for row in rows for key in keys]
        left = self.placed.get(number, set()) - keys
        self.placed[number] = self.placed.get(number, set()) | keys
        return present + [_gone(number, key, self.revision) for key in sorted(left)]

    def tell(self) -> None:
        """Publish how far the tail is: up to now, if nothing waits to be read."""
        self.town.later(1)
        if self.tails:
            moment = self.town.moment if not self.changed else 0
            mark = Watermark(polled_until=moment, swept_until=moment, positions={"tail/0": len(self.queue)})
            assert self.town.store.put_document(TAIL, "tail", msgspec.json.encode(mark))

    # -- the consumers -------------------------------------------------------------------------------------------

    def deliver(self, again: int = 0) -> None:
        """Apply the next event; and some of the last ones once more."""
        first = max(0, self.taken - again)
        end = min(self.taken + 1, len(self.queue))
        fences = {}
        if self.tails:
            fences = {bucket: Fence(0, {"tail/0": (self.taken, end)}) for bucket in range(BUCKETS)}
        self.projection.apply(self.queue[first:end], fences)
        self.taken = end

    def catch_up(self) -> None:
        while self.changed:
            self.look()
        while self.taken < len(self.queue):
            self.deliver()
        self.tell()


def _gone(number: int, key: ProfileKey, revision: int) -> CommentCreated:
    moment = msgspec.convert("1970-01-01T00:00:00", type=CommentCreated.__annotations__["created_at"])
    return CommentCreated(
        comment_id=number, user_id=key.user_id, group_slug=key.group_slug, help_request_id=ELM, body="",
        created_at=moment, gone=True, revision=revision,
    )  # fmt: skip


class Script:
    """What the others do at the pauses, in order, each after letting some pass; nothing once it is through."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.left: Acts = []
        self.busy = False
        self.idle = 0

    def rest(self) -> None:
        """The rebuild waits: whoever has nothing else to do catches up."""
        if self.left:
            self.pause()
        else:
            self.live.catch_up()

    def pause(self) -> None:
        if self.busy or not self.left:
            return
        if self.idle:
            self.idle -= 1
            return
        self.busy = True
        try:
            what, number, value, self.idle = self.left.pop()
            self.act(what, number, value)
        finally:
            self.busy = False

    def act(self, what: int, number: int, value: int) -> None:
        live = self.live
        if what < 4:
            live.write(1 + number % COMMENTS, what * 7 + value, value)
        elif what < 7:
            live.look()
        elif what < 10:
            live.deliver(again=number)
        elif what == 10:
            live.tell()
        elif what == 11:
            live.town.later(1)
        elif what == 12:
            live.change_groups(value)
        elif what == 13:
            raise KilledError


ACT = st.tuples(st.integers(0, 12), st.integers(0, 5), st.integers(0, 19), st.sampled_from([0, 0, 1, 2, 5, 15]))


class Story(NamedTuple):
    """What happens: before, unknown to the tail, and meanwhile; after how many acts the rebuild is killed."""

    before: Acts
    unseen: Acts
    meanwhile: Acts
    killed: int | None
    tails: bool
    deep: bool


STORIES = st.builds(
    Story,
    before=st.lists(ACT, max_size=20),
    unseen=st.lists(ACT, max_size=4),
    meanwhile=st.lists(ACT, max_size=60),
    killed=st.none() | st.integers(0, 40),
    tails=st.booleans(),
    deep=st.booleans(),
)


CAME_AND_WENT = Story(
    before=[],
    unseen=[],
    meanwhile=[
        (0, 0, 0, 1),
        (2, 0, 0, 0),
        *[(0, 0, 4, 0)] * 3,
        (0, 0, 4, 1),
        (1, 0, 9, 15),
        (0, 0, 3, 0),
        (4, 0, 7, 15),
    ],
    killed=None,
    tails=True,
    deep=False,
)
"""A comment that a rebuild saw and the tail never did: it was gone again when the tail looked."""

KILLED_AFTER_IT_CAME = CAME_AND_WENT._replace(
    meanwhile=[
        (12, 0, 19, 0),
        *[(0, 0, 0, 0)] * 2,
        (0, 0, 0, 15),
        (0, 0, 0, 0),
        (10, 0, 0, 0),
        *[(0, 0, 0, 0)] * 4,
        (0, 0, 0, 15),
        (0, 0, 5, 0),
        (0, 0, 0, 0),
    ],
    killed=31,
)
"""The same, and the rebuild that saw it was killed before it could look again."""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STORIES)
@example(CAME_AND_WENT)
@example(KILLED_AFTER_IT_CAME)
def test_whatever_happens_meanwhile_nothing_differs_in_the_end(story: Story) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _run(Path(folder), story)


def _run(folder: Path, story: Story) -> None:
    clock = Clock()
    town = Town(folder, _town(folder), MemoryStore(clock, NOW), clock.wait)
    live = Live(town, tails=story.tails)
    script = Script(live)
    for what, number, value, _ in story.before:
        script.act(what, number, value)
    if story.unseen:
        live.catch_up()  # or an older event that is still on its way would bring back what nobody tells is gone
        live.forget(story.unseen)
    store, database = town.store, town.database
    acts, killed = story.meanwhile, story.killed
    script.left = (acts if killed is None else [*acts[:killed], _KILL, *acts[killed:]])[::-1]
    town.asleep = script.rest
    town.projection = Projection(Pausing(store, script.pause))
    town.database = Pausing(database, script.pause)  # it hands everything on
    was_killed = False
    try:
        report = town.rebuild(deep=story.deep, prune_all=True)
    except KilledError:
        event("killed")
        was_killed = True
        clock.wait(NEVER)  # its claims have ended
        report = town.rebuild(deep=story.deep, prune_all=True)
    event(f"{len(script.left)} acts left" if script.left else "all acts done")
    # What a killed run repaired, and was gone from the rows before a poll, is drift to the next: no event explains it.
    if story.tails and not story.unseen and not was_killed:
        assert (report.missing, report.orphaned, report.different) == (0, 0, 0), report.named
    script.left = []
    town.projection, town.database = Projection(store), database
    live.catch_up()
    clock.wait(NEVER)
    found = town.rebuild(deep=True, dry_run=True)
    assert found.drift == found.lag == found.undecided == 0, (found.named, found.named_files)
    for key in store.profiles(0, EVERYTHING):
        assert check_aggregates(store, key) is False
    work = town.work()
    assert work.output is not None
    assert work.output.flusher is not None
    while work.output.flusher.flush().claims:
        pass
    work.output.folder.close()
    town.check()
    town.database.close()


def _town(folder: Path) -> WhiteBalloon:
    wb = WhiteBalloon.in_folder(folder / "data")
    for slug in ("elm", "oak"):
        wb.add_request(f"[Signal] {slug.title()}")
    for _ in range(2):
        user = wb.add_user()
        wb.join(user, "elm", "Elm")
    wb.join(BEN, "oak", "Oak")
    return wb

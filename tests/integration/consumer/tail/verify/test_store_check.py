"""The store is compared with the rows for as long as a tail runs: drift of any kind is found, said and repaired."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from consumer.tail.startup import fill as fill_module
from consumer.tail.startup.fill import Fill
from projections.codec import pack_head, unpack_head
from projections.comments.events import CommentCreated, Event, InsightCreated
from projections.profile_key import ProfileKey, bucket_of, member
from projections.projection import Projection
from projections.store.keys import index_key
from projections.store.protocol import HEAD, Save, Store, Write
from projections.store.redis.store import RedisStore, connect
from projections.whiteballoon import request_comments
from snapshot.reconcile import notice
from support.aggregates import check_aggregates
from support.relaying import Running, Topics
from support.tailing import HIGHEST, QUICK, Embedded, microseconds
from support.whiteballoon import START, WhiteBalloon

DRIFT = "signal_glaze.drift"
GROUPLESS = 9_999


@pytest.fixture
def white_balloon(tmp_path: Path) -> WhiteBalloon:
    """Two users of one group and one of another; each has three comments, every second one analysed."""
    made = WhiteBalloon.in_folder(tmp_path / "wb")
    for slug, name, members in (("elm", "Elm St", 2), ("oak", "Oak Ave", 1)):
        request, users = made.add_group(slug, name, members)
        for user in users:
            for number in range(3):
                comment = made.comment(user, request, f"https://example.org/{number}")
                if number % 2:
                    made.analyse(comment, tags=["a"])
    return made


@pytest.fixture
def embedded(white_balloon: WhiteBalloon) -> Iterator[Embedded]:
    made = Embedded(white_balloon)
    made.catch_up()
    yield made
    made.close()


KEY = ProfileKey(1, "elm")


def comment(comment_id: int, key: ProfileKey = KEY, *, request: int = 1, gone: bool = False) -> CommentCreated:
    """A reading that is newer than any, of something that no row says."""
    return CommentCreated(
        comment_id=comment_id,
        user_id=key.user_id,
        group_slug=key.group_slug,
        help_request_id=request,
        body="tampered https://tampered.example",
        created_at=START,
        gone=gone,
        revision=microseconds(),
    )


def tags(comment_id: int, *names: str) -> InsightCreated:
    return InsightCreated(
        comment_id=comment_id, user_id=KEY.user_id, group_slug=KEY.group_slug, tags=names, revision=microseconds()
    )


def write(store: Store, key: ProfileKey, sets: Mapping[bytes, bytes], deletes: tuple[bytes, ...] = ()) -> None:
    token = secrets.token_bytes(8)
    one = Write(key, store.load({key: ()})[key].version, token, sets, deletes, dirty=True)
    assert store.save([Save(bucket_of(key.user_id), [one])]) == [[]]


def other_head(projection: Projection) -> None:
    """Aggregates that don't follow from their registers."""
    store = projection.store
    head = unpack_head(store.load({KEY: (HEAD,)})[KEY].fields[HEAD])
    write(store, KEY, {HEAD: pack_head(msgspec.structs.replace(head, count=7, digest=b"x" * 16))})


def remove(projection: Projection) -> None:
    store = projection.store
    assert store.remove(KEY, store.load({KEY: ()})[KEY].version)


TAMPERINGS: dict[str, Callable[[Projection], object]] = {
    "another body": lambda it: it.apply([comment(1)]),
    "a comment that is missing": lambda it: it.apply([comment(1, gone=True)]),
    "a comment that has no row": lambda it: it.apply([comment(500)]),
    "a comment in another group's profile": lambda it: it.apply([comment(1, ProfileKey(1, "oak"), request=2)]),
    "a comment in another user's profile": lambda it: it.apply([comment(1, ProfileKey(2, "elm"))]),
    "a profile of nobody": lambda it: it.apply([comment(1, ProfileKey(GROUPLESS, "ash"))]),
    "other tags": lambda it: it.apply([tags(2, "b")]),
    "tags without an analysis": lambda it: it.apply([tags(1, "b")]),
    "tags that are missing": lambda it: it.apply([tags(2)]),
    "a profile that is missing": remove,
    "a head that its registers contradict": other_head,
    "a head that cannot be read": lambda it: write(it.store, KEY, {HEAD: b"\xc1"}),
    "a head that is missing": lambda it: write(it.store, KEY, {}, (HEAD,)),
    "a register that cannot be read": lambda it: write(it.store, KEY, {b"c1": b"\xc1", HEAD: b"\xc1"}),
}
every_tampering = pytest.mark.parametrize("tamper", TAMPERINGS.values(), ids=TAMPERINGS.keys())


def in_step(store: Store) -> bool:
    """Whether all aggregates follow from their registers."""
    try:
        for key in store.profiles(0, HIGHEST):
            check_aggregates(store, key)
    except (AssertionError, msgspec.DecodeError):
        return False
    return True


@every_tampering
def test_drift_is_repaired_though_nothing_is_committed(
    embedded: Embedded, tamper: Callable[[Projection], object]
) -> None:
    with capture_logs() as said:
        tamper(embedded.projection)
        # `drift` recomputes what is not in step, so it is asked last.
        embedded.until(lambda: in_step(embedded.projection.store) and not embedded.drift())
    assert [line["log_level"] for line in said if line["event"].startswith("drift: ")] == ["warning"]
    assert embedded.metrics.counts[DRIFT] >= 1


def test_a_profile_that_the_index_does_not_list_is_drift(white_balloon: WhiteBalloon, redis_url: str) -> None:
    client = connect(redis_url)
    embedded = Embedded(white_balloon, RedisStore(client))
    embedded.catch_up()
    store = embedded.projection.store
    client.zrem(index_key(bucket_of(KEY.user_id)), member(KEY))
    assert KEY not in store.profiles(0, HIGHEST)
    embedded.until(lambda: KEY in store.profiles(0, HIGHEST) and not embedded.drift())
    drifted = embedded.metrics.counts[DRIFT]
    for _ in range(10):
        embedded.step()
    assert embedded.metrics.counts[DRIFT] == drifted >= 1
    embedded.close()


@every_tampering
def test_the_relay_repairs_it_too(white_balloon: WhiteBalloon, tamper: Callable[[Projection], object]) -> None:
    topics = Topics()
    running = Running(white_balloon, topics)
    running.catch_up()

    def repaired() -> bool:
        topics.consume()
        return in_step(topics.projection.store) and not running.drift()

    running.until(repaired)
    tamper(topics.projection)
    running.until(repaired)
    assert running.metrics.counts[DRIFT] >= 1
    running.close()


def test_what_consumers_do_not_have_yet_is_no_drift(white_balloon: WhiteBalloon) -> None:
    topics = Topics()
    running = Running(white_balloon, topics)
    running.catch_up()
    topics.consume()
    for _ in range(3):
        new = white_balloon.comment(1, 1)
        white_balloon.edit(2, f"https://example.org/edited/{new}")
        white_balloon.rename_request(1, "Sofa" if new % 2 else "[Signal] Elm St")
        for _ in range(40):
            running.relay.step(0.05)
        published = len(topics.log)
        topics.consume()
        for _ in range(10):
            running.relay.step(0.05)
        assert len(topics.log) == published
    assert running.metrics.counts[DRIFT] == 0
    running.close()


def test_what_a_rebuild_saw_first_is_no_drift(white_balloon: WhiteBalloon) -> None:
    """It reads rows that the tail has yet to come to."""
    embedded = Embedded(white_balloon, settings=msgspec.structs.replace(QUICK, sweep_interval=0.2))
    embedded.catch_up()
    for number in range(1, 8):
        white_balloon.edit(1, f"https://example.org/edited/{number}")
        embedded.projection.apply(embedded.drift())
        for _ in range(5):
            embedded.step()
    assert embedded.metrics.counts[DRIFT] == 0
    embedded.close()


def test_groups_that_a_rebuild_saw_first_are_no_drift(white_balloon: WhiteBalloon) -> None:
    """By these, comments left profiles and came into others before a poll of the tail knew it."""
    embedded = Embedded(white_balloon, settings=msgspec.structs.replace(QUICK, poll_interval=0.5))
    embedded.catch_up()
    changes: tuple[Callable[[], object], ...] = (
        lambda: white_balloon.rename_request(1, "Sofa"),
        lambda: white_balloon.rename_request(1, "[Signal] Elm St"),
        lambda: white_balloon.leave(3, "oak"),
        lambda: white_balloon.join(3, "oak", "Oak Ave"),
    )
    for change in changes:
        embedded.catch_up()
        change()
        ahead = embedded.drift()
        assert ahead
        embedded.projection.apply(ahead)
        for _ in range(10):
            embedded.step()
        assert embedded.drift() == []
    assert embedded.metrics.counts[DRIFT] == 0
    embedded.close()


def test_what_a_rebuild_saw_alone_is_no_drift(white_balloon: WhiteBalloon) -> None:
    """It read between two polls, and before the second one all was as before the first."""
    embedded = Embedded(white_balloon, settings=msgspec.structs.replace(QUICK, poll_interval=0.5))
    embedded.catch_up()
    white_balloon.leave(3, "oak")
    notice.post(embedded.projection.store, 1)
    embedded.projection.apply(embedded.drift())
    white_balloon.join(3, "oak", "Oak Ave")
    assert embedded.drift()
    embedded.until(lambda: not embedded.drift())
    assert embedded.metrics.counts[DRIFT] == 0
    remove(embedded.projection)
    embedded.until(lambda: not embedded.drift())
    embedded.until(lambda: embedded.metrics.counts[DRIFT] > 0)
    embedded.close()


def test_what_was_written_before_the_clock_was_set_back_is_no_drift(
    white_balloon: WhiteBalloon, embedded: Embedded
) -> None:
    """A rebuild did; what the tail publishes by the clock of now is older, so the store refuses it."""
    hour = 3_600_000_000
    before = [msgspec.structs.replace(comment(one), revision=microseconds() + hour) for one in (1, 2)]
    embedded.projection.apply(before)
    white_balloon.edit(2, "https://example.org/edited")
    embedded.until(lambda: not embedded.drift())
    assert embedded.metrics.counts[DRIFT] == 0
    white_balloon.edit(1, "https://example.org/edited/again")
    embedded.catch_up()
    assert embedded.drift() == []


def test_all_that_was_written_before_the_clock_was_set_back_is_no_drift(embedded: Embedded) -> None:
    """One has another body, one has no row, so they are published one after the other."""
    hour = 3_600_000_000
    now = microseconds()
    embedded.projection.apply(
        [
            msgspec.structs.replace(comment(1), revision=now + hour),
            msgspec.structs.replace(comment(500), revision=now + hour - 1),
        ]
    )
    embedded.until(lambda: not embedded.drift())
    assert embedded.metrics.counts[DRIFT] == 0


def test_drift_is_judged_with_what_is_left_to_the_polls(white_balloon: WhiteBalloon) -> None:
    embedded = Embedded(white_balloon, settings=msgspec.structs.replace(QUICK, poll_interval=3.0))
    embedded.catch_up()
    with capture_logs() as said:
        for number in range(500, 515):
            white_balloon.comment(1, 1, comment_id=number, deleted_at=START)
        embedded.projection.apply([comment(number) for number in range(500, 530)])
        embedded.projection.apply([comment(1)])
        embedded.until(lambda: any("blocked" in line["event"] for line in said))
    assert {event.comment_id for event in embedded.drift()} == set(range(500, 530))
    embedded.close()


def test_drift_that_would_remove_much_is_blocked(white_balloon: WhiteBalloon, embedded: Embedded) -> None:
    """As if the rows of a restored database were too few."""
    assert white_balloon
    with capture_logs() as said:
        embedded.projection.apply([comment(number) for number in range(500, 530)])
        embedded.projection.apply([comment(1)])
        embedded.until(lambda: any("blocked" in line["event"] for line in said))
    assert {line["where"] for line in said if "blocked" in line["event"]} == {"store"}
    assert {event.comment_id for event in embedded.drift()} == set(range(500, 530))


# ------------------------------------------------------------------------ one way from a reading to an event (races)


def test_a_comment_that_moves_between_fill_and_check_leaves_its_new_profile_when_the_title_changes(
    white_balloon: WhiteBalloon,
) -> None:
    sofa, third = white_balloon.add_request("Sofa"), white_balloon.add_request("[Signal] Elm St")
    moved = white_balloon.comment(1, sofa)
    topics = Topics()
    first = Running(white_balloon, topics)
    first.catch_up(consume=False)
    first.close()
    second = Running(white_balloon, topics, msgspec.structs.replace(QUICK, sweep_interval=3.0))
    for _ in range(10):
        second.relay.step(0.01)  # remembers all rows, and waits for the consumers
    white_balloon.move(moved, request_id=third)

    def consumed() -> bool:
        topics.consume()
        tail = second.relay._leased.tail  # noqa: SLF001 - to see that it has started
        return tail is not None and not tail.starting

    second.until(consumed)
    topics.consume()
    white_balloon.rename_request(third, "Sofa")
    second.catch_up()
    topics.consume()
    assert second.drift() == []
    second.close()


def test_a_title_that_changes_between_fill_and_check_and_back_leaves_nothing_behind(
    white_balloon: WhiteBalloon,
) -> None:
    """As a sibling: what the comparison reads of groups must not be published before polling has it."""
    topics = Topics()
    first = Running(white_balloon, topics)
    first.catch_up(consume=False)
    first.close()
    second = Running(white_balloon, topics, msgspec.structs.replace(QUICK, poll_interval=3.0, sweep_interval=3.0))
    for _ in range(10):
        second.relay.step(0.01)
    white_balloon.rename_request(2, "[Signal] Elm St")
    white_balloon.join(3, "elm", "Elm St")

    def consumed() -> bool:
        topics.consume()
        tail = second.relay._leased.tail  # noqa: SLF001 - to see that it has started
        return tail is not None and not tail.starting

    second.until(consumed)
    white_balloon.rename_request(2, "[Signal] Oak Ave")
    white_balloon.leave(3, "elm")
    second.catch_up()
    topics.consume()
    assert second.drift() == []
    second.close()


def test_only_the_event_builder_makes_events() -> None:
    """Whoever else did so would not note in which profiles a comment then is."""
    folder = Path(__file__).parents[5] / "consumer"
    makers = {
        file.relative_to(folder).as_posix()
        for room in ("tail", "relay")
        for file in (folder / room).rglob("*.py")
        for name in ("CommentCreated(", "InsightCreated(", "import events", "insight(")
        if name in file.read_text()
    }
    assert makers == {"tail/rows/event_builder.py"}


class During:
    """A community of so many comments, whose store another tail has filled; some go while the next start reads them."""

    def __init__(self, folder: Path, comments: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.white_balloon = WhiteBalloon.in_folder(folder)
        request, [user] = self.white_balloon.add_group("elm", "Elm St")
        row = {"user_id": user, "help_request_id": request, "body": "Hello", "created_at": START}
        self.white_balloon.comments([{"id": number, **row} for number in range(1, comments + 1)])
        first = Embedded(self.white_balloon)
        first.catch_up()
        self.store = first.projection.store
        first.close()
        monkeypatch.setattr(fill_module, "_PAGE", 50)
        self._monkeypatch = monkeypatch

    def start(self, deleted: set[int]) -> Embedded:
        """Delete these after the first page."""
        turn: Callable[[Fill], list[Event] | None] = Fill.turn
        left = [deleted]

        def with_a_deletion(fill: Fill) -> list[Event] | None:
            found = turn(fill)
            while left:
                delete(self.white_balloon, *left.pop())
            return found

        self._monkeypatch.setattr(Fill, "turn", with_a_deletion)
        return Embedded(self.white_balloon, self.store)


def test_a_deletion_during_the_start_is_blocked_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """30 of 100: the store's comparison blocks it, the sweep let 15 of them go, and then the comparison the rest."""
    deleted = {*range(1, 16), *range(51, 66)}
    second = During(tmp_path / "many", 100, monkeypatch).start(deleted)
    for _ in range(200):
        second.step()
    assert {event.comment_id for event in second.drift()} == deleted  # nothing of it went
    assert second.source._leased.blocked  # noqa: SLF001
    second.close()


def test_so_few_that_went_before_and_during_a_start_are_not_counted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1 before, and 15 of 200 while it reads: the comparison leaves these to the sweep."""
    during = During(tmp_path / "many", 200, monkeypatch)
    delete(during.white_balloon, 200)
    second = during.start(set(range(1, 16)))
    leased = second.source._leased  # noqa: SLF001
    second.until(lambda: leased.tail is not None and not leased.tail.starting and not second.drift())
    second.catch_up()
    assert not leased.blocked
    second.close()


def delete(white_balloon: WhiteBalloon, *numbers: int) -> None:
    with white_balloon.main.begin() as connection:  # one transaction
        connection.execute(request_comments.delete().where(request_comments.c.id.in_(numbers)))

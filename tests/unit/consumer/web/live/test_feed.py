"""The feed of changes: what readers get, what they miss and hear of, and that none holds up another."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from consumer.views.changes import Change, FieldChange
from consumer.web.live import feed as feed_
from consumer.web.live.feed import ChangeFeed, id_of


def change(sequence: int, text: str = "") -> Change:
    return Change(
        "2024-01-01T00:00:00Z", 1, "a:b\n/c", "comment-created 1", sequence, "ab", [FieldChange(text, None, "1")]
    )


def started(heartbeat: float = 60.0) -> ChangeFeed:
    feed = ChangeFeed(heartbeat)
    feed.attach(asyncio.get_running_loop())
    feed.begin()
    return feed


async def take(stream: AsyncIterator[bytes], count: int) -> list[bytes]:
    return [await asyncio.wait_for(anext(stream), 20) for _ in range(count)]


def numbers(events: list[bytes]) -> list[int]:
    return [int(one.split(b"-")[0].removeprefix(b"id: ")) for one in events]


def test_readers_get_what_comes_after_they_came() -> None:
    async def run() -> None:
        feed = started()
        feed.publish(change(1))
        early, late = feed.stream(), feed.stream(id_of(change(1)))
        assert await take(early, 1) == await take(late, 1) == [b"retry: 2000\n\n"]
        await asyncio.to_thread(feed.publish, change(2))
        (event,) = await take(early, 1)
        assert event.startswith(b"id: 2-1-a%3Ab%0A%2Fc\nevent: change\ndata: {")
        assert event.count(b"\n") == 4, "nothing in it ends a line"
        assert await take(late, 1) == [event]
        assert feed.readers == 2
        feed.close()
        assert [one async for one in early] == []
        await late.aclose()  # type: ignore[attr-defined]
        assert feed.readers == 0

    asyncio.run(run())


def test_a_reader_goes_on_where_it_was() -> None:
    async def run() -> None:
        feed = started()
        for sequence in (1, 2, 3, 4):
            feed.publish(change(sequence))
        stream = feed.stream(id_of(change(2)))
        assert numbers((await take(stream, 3))[1:]) == [3, 4]

    asyncio.run(run())


def test_after_a_restart_what_may_have_come_in_another_order_comes_again() -> None:
    async def run() -> None:
        feed = ChangeFeed()
        feed.attach(asyncio.get_running_loop())
        for seconds in (1, 30, 35, 36):  # as Kafka kept them: by sequence
            feed.publish(change(seconds * 1_000_000))
        feed.begin()
        stream = feed.stream(id_of(change(36_000_000)))
        assert numbers((await take(stream, 4))[1:]) == [30_000_000, 35_000_000, 36_000_000]

    asyncio.run(run())


def test_who_asks_for_what_was_dropped_hears_of_the_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_, "MOST_CHANGES", 3)

    async def run() -> None:
        feed = started()
        slow = feed.stream()
        await take(slow, 1)
        for sequence in range(1, 11):
            feed.publish(change(sequence))
        assert [one.change.sequence for one in feed.recent(2)] == [10, 9]
        first, *rest = await take(slow, 4)
        assert first.startswith(b"event: gap\n")
        assert numbers(rest) == [8, 9, 10]
        _, gap, *rest = await take(feed.stream(id_of(change(2))), 5)
        assert gap.startswith(b"event: gap\n")
        assert numbers(rest) == [8, 9, 10]

    asyncio.run(run())


def test_who_comes_while_what_was_announced_is_still_read_waits_for_it() -> None:
    async def run() -> None:
        feed = ChangeFeed(heartbeat=0.001)
        feed.attach(asyncio.get_running_loop())
        again, new = feed.stream(id_of(change(1))), feed.stream()
        assert await take(again, 2) == await take(new, 2) == [b"retry: 2000\n\n", b": alive\n\n"]
        for sequence in (1, 20_000_000):
            feed.publish(change(sequence))
        feed.begin()
        feed.publish(change(30_000_000))
        assert numbers([one for one in await take(again, 20) if one.startswith(b"id")]) == [1, 20_000_000, 30_000_000]

    asyncio.run(run())


def test_its_memory_has_a_bound_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_, "MOST_BYTES", 10_000)

    async def run() -> None:
        feed = started()
        for sequence in range(20):
            feed.publish(change(sequence, "x" * 4_000))
        assert len(feed.recent(20)) == 2
        feed.publish(change(99, "x" * 20_000))
        assert [one.change.sequence for one in feed.recent(20)] == [99]

    asyncio.run(run())


def test_silence_is_filled_with_heartbeats() -> None:
    async def run() -> None:
        stream = started(heartbeat=0.001).stream()
        assert (await take(stream, 3))[1:] == [b": alive\n\n"] * 2

    asyncio.run(run())

"""The last changes, for any number of readers: each has a position of its own, and holds up nobody else.

What a reader was too slow for, or asks for after it was dropped, is a gap that it hears of.
"""

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncIterator
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from consumer.views.changes import Change

MOST_CHANGES = 1_000
MOST_BYTES = 8 * 2**20
MOST_READERS = 64
HEARTBEAT_SECONDS = 15.0
_DISORDER = 10_000_000
"""Microseconds by which announcements may come in another order than their sequences."""
_RETRY = b"retry: 2000\n\n"
_HEARTBEAT = b": alive\n\n"
_GAP = b'event: gap\ndata: {"reason": "some changes are no longer kept here; read the profiles again"}\n\n'


class Kept(NamedTuple):
    """A change with its number here, its id for readers, and its event as bytes."""

    number: int
    id: str
    change: Change
    event: bytes


class ChangeFeed:
    """The changes; `publish` may be called by any thread, `stream` within the event loop that `attach` names."""

    def __init__(self, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        self._heartbeat = heartbeat
        self._lock = threading.Lock()
        self._kept: deque[Kept] = deque()
        self._bytes = 0
        self._next = 1
        self._live_from = 1
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self.readers = 0
        self.started = False
        self.closed = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake readers in this loop."""
        self._loop = loop

    def publish(self, change: Change) -> None:
        """Add a change; the oldest ones go when there are too many, or too large."""
        with self._lock:
            kept = Kept(self._next, id_of(change), change, _event(change))
            self._next += 1
            self._kept.append(kept)
            self._bytes += len(kept.event)
            while len(self._kept) > 1 and (len(self._kept) > MOST_CHANGES or self._bytes > MOST_BYTES):
                self._bytes -= len(self._kept.popleft().event)
        self._wake()

    def begin(self) -> None:
        """What is published from now on comes as it is announced; what was before, perhaps in another order."""
        with self._lock:
            self._live_from = self._next
        self.started = True
        self._wake()

    def close(self) -> None:
        """End all streams."""
        self.closed = True
        self._wake()

    def recent(self, limit: int) -> list[Kept]:
        """Give the last changes, the latest first."""
        with self._lock:
            return list(self._kept)[: -limit - 1 : -1]

    async def stream(self, after: str | None = None) -> AsyncIterator[bytes]:
        """Give events as they come, those after the one with this id first; without it, from now on."""
        self.readers += 1
        try:
            place = self._position(after) if self.started else None
            yield _RETRY
            while not (self.started or self.closed):  # what was announced before is still read
                if not await _happens(self._news, self._heartbeat):
                    yield _HEARTBEAT
            position, missed = place or self._position(after)
            if missed:
                yield _GAP
            while not self.closed:
                news = self._news
                found, missed = self._since(position)
                if missed:
                    yield _GAP
                for one in found:
                    yield one.event
                    position = one.number
                if not found and not await _happens(news, self._heartbeat):
                    yield _HEARTBEAT
        finally:
            self.readers -= 1

    def _position(self, after: str | None) -> tuple[int, bool]:
        """The number after which a reader goes on, and whether it missed something."""
        with self._lock:
            if after is None:
                return self._next - 1, False
            found = next((one for one in self._kept if one.id == after), None)
            if found is not None:
                return self._before(found) if found.number < self._live_from else found.number, False
            return (self._kept[0].number if self._kept else self._next) - 1, True

    def _before(self, found: Kept) -> int:
        """Where all begins that may have come after this one; some of it comes twice."""
        least = found.change.sequence - _DISORDER
        return next(one.number for one in self._kept if one.change.sequence >= least) - 1

    def _since(self, position: int) -> tuple[list[Kept], bool]:
        with self._lock:
            if position == self._next - 1:
                return [], False
            found = [one for one in self._kept if one.number > position]
        return found[:100], found[0].number > position + 1

    def _wake(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._renew)

    def _renew(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def id_of(change: Change) -> str:
    """Name a change: no other announcement of the profile has its sequence."""
    return f"{change.sequence}-{change.user_id}-{quote(change.group_slug, safe='', errors='replace')}"


def _event(change: Change) -> bytes:
    data = json.dumps(msgspec.to_builtins(change))
    return f"id: {id_of(change)}\nevent: change\ndata: {data}\n\n".encode()


async def _happens(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True

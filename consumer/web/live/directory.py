"""All profiles by what people search for: user, group, leading links and tags, reactions."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from consumer.web.live.connection import StoreConnection
from projections.codec import UNREADABLE, unpack_head
from projections.profile_key import HIGHEST_ID, ProfileKey
from projections.profiles.head import Head
from projections.profiles.ranking import TOP_N
from projections.store.protocol import HEAD, Store

_FRESH_SECONDS = 3.0
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - times are UTC without a zone throughout


class FoundProfile(NamedTuple):
    """One profile: comments that count, when its user was first and last seen (UTC), and its text, casefolded."""

    key: ProfileKey
    comments: int
    first_seen_at: datetime
    last_seen_at: datetime
    text: str


class Directory:
    """Read from the heads again when it is asked, a few seconds are over, and the store was written to."""

    def __init__(self, store: StoreConnection, now: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._now = now
        self._loading = threading.Lock()
        self._writes: list[tuple[str, int] | None] = []
        self._looked_at: float | None = None
        self._entries: list[FoundProfile] = []

    def find(self, query: str = "", group: str | None = None) -> list[FoundProfile]:
        """Give the profiles that have all words of the query, by user and group. Raises StoreUnavailableError.

        A number is the beginning of a user's id.
        """
        words = query.casefold().split()
        numbers = [word for word in words if word.isdecimal()]
        texts = [word for word in words if not word.isdecimal()]
        return [
            one
            for one in self._present()
            if (group is None or one.key.group_slug == group)
            and all(str(one.key.user_id).startswith(number) for number in numbers)
            and all(word in one.text for word in texts)
        ]

    def groups(self) -> list[str]:
        """All groups that have profiles."""
        return sorted({one.key.group_slug for one in self._present()})

    def _present(self) -> list[FoundProfile]:
        store = self._store.get()
        # Whoever comes while another request reads them gets those of before, but for the very first time.
        if self._loading.acquire(blocking=self._looked_at is None):
            try:
                self._refresh(store)
            finally:
                self._loading.release()
        return self._entries

    def _refresh(self, store: Store) -> None:
        now = self._now()
        if self._looked_at is not None and now - self._looked_at < _FRESH_SECONDS:
            return
        writes = [None if one is None else (one.instance_id, one.writes) for one in store.bucket_states()]
        if self._looked_at is None or writes != self._writes:
            self._entries = sorted(_entries(store), key=lambda one: one.key)
            self._writes = writes
        self._looked_at = now


def _entries(store: Store) -> Iterator[FoundProfile]:
    for key, packed in store.load_range(0, HIGHEST_ID, HEAD):
        try:
            head = None if packed is None else unpack_head(packed)
            if head is not None and head.count > 0:
                yield _entry(key, head)
        except (*UNREADABLE, IndexError, OverflowError):  # damaged: the status and the commands that look at it say so
            continue


def _entry(key: ProfileKey, head: Head) -> FoundProfile:
    names = [one[4] for ranking in (head.links, head.tags) for one in ranking.leaders[:TOP_N]]
    text = " ".join([key.group_slug, *names, *head.reactions, *head.attachments])
    first, last = head.first.kept[0][0], -head.last.kept[0][0]
    return FoundProfile(
        key, head.count, _EPOCH + timedelta(microseconds=first), _EPOCH + timedelta(microseconds=last), text.casefold()
    )

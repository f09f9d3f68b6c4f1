"""Follows the announcements, in the file or on Kafka, and hands what they change to the feed."""

import threading
from collections.abc import Iterable, Iterator

from consumer.views.seen_profiles import SeenProfiles
from consumer.web.live.connection import UNREACHABLE, Sources, StoreConnection
from consumer.web.live.feed import MOST_CHANGES, ChangeFeed
from projections.masking import mask_urls
from projections.profile_key import HIGHEST_ID
from projections.store.protocol import HEAD
from snapshot.announce import file as announced_file
from snapshot.announce.announcement import Announcement
from snapshot.cli.resources import ANNOUNCEMENTS

_PAUSE, _KAFKA_PAUSE, _RETRY_SECONDS = 0.2, 1.0, 3.0


class Follower:
    """A thread of its own. `trouble` says why changes do not come at present; None: they do."""

    def __init__(self, sources: Sources, store: StoreConnection, feed: ChangeFeed) -> None:
        self._sources = sources
        self._store = store
        self._feed = feed
        self._known = SeenProfiles()
        self._loaded = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self.trouble: str | None = None

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._follow()
            except (*UNREACHABLE, OSError) as error:
                self.trouble = mask_urls(" ".join(str(error).split()))
                self._stopped.wait(_RETRY_SECONDS)

    def _follow(self) -> None:
        coming = self._coming()
        next(coming)  # from here on nothing is missed
        self._publish(self._latest())  # what was announced before, or while it could not be followed
        if not self._loaded:
            self._known.load(dict(self._store.get().load_range(0, HIGHEST_ID, HEAD)))
            self._loaded = True
            self._feed.begin()
        self.trouble = None
        for one in coming:
            if self._stopped.is_set():
                return
            if one is None:
                self._stopped.wait(_PAUSE if self._sources.kafka is None else _KAFKA_PAUSE)
            else:
                self._publish([one])

    def _publish(self, announcements: Iterable[Announcement]) -> None:
        for one in announcements:
            if (change := self._known.change(one)) is not None:
                self._feed.publish(change)

    def _coming(self) -> Iterator[Announcement | None]:
        settings = self._sources.kafka
        if settings is None:
            return announced_file.follow(self._sources.place.storage_dir / ANNOUNCEMENTS)
        from consumer.kafka.announcements import follow  # noqa: PLC0415 - Kafka's client takes long to import

        return follow(settings)

    def _latest(self) -> list[Announcement]:
        settings = self._sources.kafka
        if settings is None:
            return announced_file.latest(self._sources.place.storage_dir / ANNOUNCEMENTS)[-MOST_CHANGES:]
        from consumer.kafka.announcements import latest  # noqa: PLC0415 - Kafka's client takes long to import

        return sorted(latest(settings, MOST_CHANGES), key=lambda one: one.sequence)[-MOST_CHANGES:]

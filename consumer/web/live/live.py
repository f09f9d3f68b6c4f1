"""All of it together, with its threads."""

import asyncio

from consumer.web.live.connection import Sources, StoreConnection
from consumer.web.live.directory import Directory
from consumer.web.live.feed import ChangeFeed
from consumer.web.live.follower import Follower
from consumer.web.live.sampler import Sampler
from snapshot.cli.read_only import open_existing_store


class Live:
    """What requests read. It runs from `start` to `stop`, in one event loop."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.store = StoreConnection(lambda: open_existing_store(sources.place))
        self.sampler = Sampler(sources, self.store)
        self.directory = Directory(self.store)
        self.feed = ChangeFeed()
        self.follower = Follower(sources, self.store, self.feed)

    def start(self) -> None:
        """Begin to look and to follow."""
        self.feed.attach(asyncio.get_running_loop())
        self.sampler.start()
        self.follower.start()

    def stop(self) -> None:
        """End all threads and streams, and close the store."""
        self.feed.close()
        self.follower.stop()
        self.sampler.stop()

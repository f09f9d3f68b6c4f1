"""Faults of Redis."""

import signal
from contextlib import suppress

import redis

from chaos.faults.base import Fault
from chaos.redis_stand import GivenRedis
from chaos.world import World


class _OfStore(Fault):
    holds = frozenset({"store"})


class _OfGiven(_OfStore):
    """Only where it is a server of its own behind a proxy."""

    @classmethod
    def fits(cls, world: World) -> bool:
        return isinstance(world.redis, GivenRedis)

    @property
    def redis(self) -> GivenRedis:
        assert isinstance(self.world.redis, GivenRedis)
        return self.world.redis


class StoreKilled(_OfStore):
    weight = 4
    lasts = (0.2, 8.0)

    def begin(self) -> None:
        self.world.redis.kill()

    def end(self) -> None:
        self.world.redis.start()


class StoreLosesItsTail(_OfStore):
    """The machine fails: what the append-only file had not yet got to the disk is gone."""

    destroys = "store"
    weight = 6
    lasts = (0.0, 3.0)

    def begin(self) -> None:
        for process in self.world.processes:
            process.pause()  # a private server is started again by them, at once
        self.world.redis.kill()
        share = self.dice.choice([0.002, 0.02, 0.1, 0.4])
        self.facts["bytes"] = self.world.redis.cut_tail(share * self.dice.random())
        for process in self.world.processes:
            process.resume()

    def end(self) -> None:
        self.world.redis.start()


class StoreEmptied(_OfStore):
    """FLUSHALL under traffic."""

    destroys = "store"
    weight = 4
    lasts = (0.0, 0.1)

    def begin(self) -> None:
        with suppress(redis.RedisError, OSError), self.world.redis.client() as client:
            self.facts["keys"] = client.dbsize()
            client.flushall()


class StoreOutOfMemory(_OfStore):
    """maxmemory is what is used already, and nothing may be evicted."""

    weight = 3
    lasts = (2.0, 10.0)

    def begin(self) -> None:
        with suppress(redis.RedisError, OSError), self.world.redis.client() as client:
            client.config_set("maxmemory", client.info("memory")["used_memory"])

    def end(self) -> None:
        with suppress(redis.RedisError, OSError), self.world.redis.client() as client:
            client.config_set("maxmemory", 0)


class StorePaused(_OfStore):
    """It takes connections and says nothing."""

    weight = 3
    lasts = (1.0, 15.0)

    def begin(self) -> None:
        self.world.redis.signal(signal.SIGSTOP)

    def end(self) -> None:
        self.world.redis.signal(signal.SIGCONT)


class StoreForgetsScripts(_OfStore):
    """SCRIPT FLUSH, and all connections end."""

    weight = 2
    lasts = (0.0, 0.1)
    troubles = False

    def begin(self) -> None:
        with suppress(redis.RedisError, OSError), self.world.redis.client() as client:
            client.script_flush()
            client.client_kill_filter(_type="normal", skipme=True)


class StoreRepliesCut(_OfGiven):
    """What it was asked for it did; but the answer ends in the middle."""

    weight = 6
    lasts = (0.5, 6.0)

    def begin(self) -> None:
        self.redis.proxy.cut_replies(self.dice.randint(1, 8))

    def end(self) -> None:
        self.redis.proxy.cut_replies(0)


class StoreUnreachable(_OfGiven):
    """The network is gone: nothing is refused, nothing comes through."""

    weight = 3
    lasts = (1.0, 15.0)

    def begin(self) -> None:
        self.redis.proxy.freeze()

    def end(self) -> None:
        self.redis.proxy.thaw()


class StoreFailsOver(_OfGiven):
    """A replica that lagged behind takes over."""

    destroys = "store"
    weight = 5
    lasts = (1.0, 6.0)

    def begin(self) -> None:
        self.redis.follow()

    def end(self) -> None:
        self.redis.fail_over()


FAULTS: tuple[type[Fault], ...] = (
    StoreKilled,
    StoreLosesItsTail,
    StoreEmptied,
    StoreOutOfMemory,
    StorePaused,
    StoreForgetsScripts,
    StoreRepliesCut,
    StoreUnreachable,
    StoreFailsOver,
)

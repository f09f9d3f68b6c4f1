"""Faults of Kafka."""

import signal

from kafka import TopicPartition, errors

from chaos.faults.base import Fault
from chaos.kafka_stand import EVENTS, GROUP, KafkaStand
from chaos.world import World
from support.commands import run
from support.kafka_broker import answers

_MOST_PARTITIONS = 12


class _OfBroker(Fault):
    holds = frozenset({"broker"})

    @classmethod
    def fits(cls, world: World) -> bool:
        return world.kafka is not None

    @property
    def kafka(self) -> KafkaStand:
        assert self.world.kafka is not None
        return self.world.kafka

    def start(self) -> None:
        """Start the broker; the supervisor goes on meanwhile."""
        self.kafka.broker.launch()
        self.world.wait_until(lambda: answers(self.kafka.broker.bootstrap), "Kafka to start again")


class BrokerStopped(_OfBroker):
    weight = 2
    lasts = (0.5, 8.0)

    def begin(self) -> None:
        self.kafka.signal(signal.SIGTERM)

    def end(self) -> None:
        self.kafka.broker.stop()  # it may be at it still
        self.start()


class BrokerKilled(_OfBroker):
    weight = 3
    lasts = (0.5, 8.0)

    def begin(self) -> None:
        self.kafka.broker.kill()

    def end(self) -> None:
        self.start()


class BrokerPaused(_OfBroker):
    """It takes connections and says nothing."""

    weight = 5
    lasts = (2.0, 22.0)

    def begin(self) -> None:
        self.kafka.signal(signal.SIGSTOP)

    def end(self) -> None:
        self.kafka.signal(signal.SIGCONT)


class BrokerRepliesCut(_OfBroker):
    """What it was asked for it did; but the answer ends in the middle."""

    weight = 5
    lasts = (0.5, 6.0)

    def begin(self) -> None:
        self.kafka.proxy.cut_replies(self.dice.randint(1, 8))

    def end(self) -> None:
        self.kafka.proxy.cut_replies(0)


class BrokerUnreachable(_OfBroker):
    """The network is gone: nothing is refused, nothing comes through."""

    weight = 2
    lasts = (1.0, 15.0)

    def begin(self) -> None:
        self.kafka.proxy.freeze()

    def end(self) -> None:
        self.kafka.proxy.thaw()


class PartitionsAdded(_OfBroker):
    """The same number for both event topics."""

    weight = 2
    lasts = (0.0, 0.1)

    def begin(self) -> None:
        present = self.kafka.partitions(EVENTS)
        self.facts["partitions"] = number = max(present.values()) + self.dice.randint(1, 2)
        if min(present.values()) and number <= _MOST_PARTITIONS:  # and the topics are there by now
            with self.kafka.admin() as admin:
                admin.create_partitions(dict.fromkeys(EVENTS, number))


class TopicRecreated(_OfBroker):
    """Deleted with all that is in it, and made again by our own command."""

    weight = 2
    lasts = (0.5, 4.0)

    def begin(self) -> None:
        topics = [one for one in EVENTS if self.dice.random() < 0.7] or [EVENTS[0]]
        self.facts["topics"] = topics
        with self.kafka.admin() as admin:
            admin.delete_topics(topics)

    def end(self) -> None:
        self.world.wait_until(self._made, "the topics to be made again")

    def _made(self) -> bool:
        """Deleting takes its time, and until then a topic can't be made."""
        done = run("snapshot-admin", "topics", env=self.world.env())
        self.facts["said"] = done.stderr[-200:]
        return done.returncode == 0


class RetentionRunsOut(_OfBroker):
    """All events so far are dropped, perhaps while the consumers are away."""

    weight = 3
    lasts = (1.0, 6.0)

    def begin(self) -> None:
        if self.dice.random() < 0.6:
            for process in self.world.processes:
                if "consumer" in process.name:
                    process.kill(down=self.seconds + 1)

    def end(self) -> None:
        ends = self.kafka.ends(EVENTS)
        below = {TopicPartition(*_split(name)): end for name, end in ends.items() if end}
        with self.kafka.admin() as admin:
            admin.delete_records(below)


class OffsetsLost(_OfBroker):
    """The group's committed offsets are gone, as after a week without consumers."""

    weight = 1
    lasts = (11.0, 14.0)

    def begin(self) -> None:
        for process in self.world.processes:
            if "consumer" in process.name:
                process.kill(down=self.seconds + 2)

    def end(self) -> None:
        with self.kafka.admin() as admin:
            try:
                self.facts["answer"] = str(admin.delete_groups([GROUP]))
            except errors.KafkaError as error:
                self.facts["answer"] = repr(error)


def _split(name: str) -> tuple[str, int]:
    topic, number = name.rsplit("/", 1)
    return topic, int(number)


FAULTS: tuple[type[Fault], ...] = (
    BrokerStopped,
    BrokerKilled,
    BrokerPaused,
    BrokerRepliesCut,
    BrokerUnreachable,
    PartitionsAdded,
    TopicRecreated,
    RetentionRunsOut,
    OffsetsLost,
)

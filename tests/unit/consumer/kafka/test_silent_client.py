"""A client that Kafka no longer answers is replaced; one that is answered now and then is not."""

from unittest.mock import Mock

import msgspec
import pytest

from consumer.kafka import source as kafka_source
from consumer.kafka.member import Fetched, MemberError
from consumer.kafka.options import SourceOptions
from consumer.kafka.source import KafkaSource
from consumer.source import Offsets, SourceUnavailableError
from snapshot.kafka.settings import KafkaSettings

PARTITION = "comment-created/0"
LIMIT = 10.0


class Scene:
    """A source whose members are made here; `now` is its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.silent = True
        monkeypatch.setattr(kafka_source, "probe", lambda *_: None)
        monkeypatch.setattr(kafka_source, "join", lambda *_: self.member())
        options = msgspec.structs.replace(SourceOptions(), stall_limit=LIMIT)
        settings = KafkaSettings(bootstrap_servers="nowhere:9092")
        self.source = KafkaSource(settings, "group", options=options, clock=lambda: self.now)
        self.source.poll(0)

    def member(self) -> Mock:
        made = Mock(changes=1)
        made.poll.return_value = Fetched((), (), {})
        made.assigned.return_value = frozenset({PARTITION})
        made.ends.return_value = {PARTITION: 0}
        made.topic_ids.return_value = {}
        made.answers.side_effect = lambda: not self.silent
        made.offsets.side_effect = self.offsets
        return made

    def offsets(self, _partitions: object) -> dict[str, Offsets]:
        if self.silent:
            raise MemberError("Timed out", retriable=True)
        return {PARTITION: Offsets(None, 0, 0, "id")}

    def ask(self) -> None:
        with pytest.raises(SourceUnavailableError):
            self.source.offsets(frozenset({PARTITION}))


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_who_never_gets_the_offsets_is_replaced(scene: Scene) -> None:
    """The member itself thinks that it is answered."""
    for _ in range(int(LIMIT) + 2):
        scene.ask()
        scene.silent = False
        scene.source.poll(0)
        scene.silent = True
        scene.now += 1
    assert scene.source.recreated == 1


def test_who_is_no_longer_answered_while_it_reads_is_replaced(scene: Scene) -> None:
    scene.silent = False
    scene.source.offsets(frozenset({PARTITION}))
    scene.source.start(scene.source.assignment().generation, {PARTITION: 0})
    scene.silent = True
    for _ in range(int(LIMIT) + 2):
        scene.source.poll(0)
        scene.now += 1
    assert scene.source.recreated == 1


def test_one_answer_is_enough(scene: Scene) -> None:
    for second in range(5 * int(LIMIT)):
        scene.silent = second % (int(LIMIT) - 1) != 0
        if scene.silent:
            scene.ask()
        else:
            scene.source.offsets(frozenset({PARTITION}))
        scene.source.poll(0)
        scene.now += 1
    assert scene.source.recreated == 0

from collections.abc import Mapping

from consumer.relay.consumer_progress import ConsumerProgress, PublishedPositions
from projections.store.memory import MemoryStore
from projections.store.protocol import InitialPositions


def test_what_was_acknowledged_comes_to_what_the_holders_before_had() -> None:
    reached = PublishedPositions({"a/0": 20, "a/1": 20, "tail/0": 7})
    assert reached.positions({"a/1": 25, "b/0": 1}) == {"a/0": 20, "a/1": 25, "b/0": 1}


def test_a_topic_that_was_recreated_before_the_start_is_no_further_than_it_is() -> None:
    reached = PublishedPositions({"a/0": 20, "a/1": 20, "b/0": 4})
    reached.ends_are({"a/0": 3, "b/0": 9})
    assert reached.positions({}) == {"a/0": 3, "b/0": 4}


def test_a_topic_that_is_recreated_meanwhile_starts_over() -> None:
    reached = PublishedPositions({"a/0": 20, "a/1": 20, "b/0": 4})
    assert reached.positions({"a/1": 1}) == {"a/1": 1, "b/0": 4}
    assert reached.positions({"a/1": 2}) == {"a/1": 2, "b/0": 4}


def test_a_later_pass_does_not_wait_for_what_a_topic_held_before_it_was_made_again() -> None:
    """Nothing was published since to one of its partitions, so nothing else tells that it ends lower."""
    now = 0.0
    asked = list[float]()
    store = MemoryStore(lambda: 0)
    store.initialize(InitialPositions({"comment-created/0": 0, "comment-created/1": 2}, {}, "1"))
    published = {"comment-created/0": 3, "comment-created/1": 2}

    def ends() -> Mapping[str, int]:
        asked.append(now)
        return {"comment-created/0": 0, "comment-created/1": 2}

    progress = ConsumerProgress(store, ends, lambda: published, lambda: now, None)
    progress.begin_pass(first=False)
    answers = []
    for second in range(40):
        now = float(second)
        answers.append(progress.ready())
    assert answers.index(True) == 30
    assert asked == [30.0]

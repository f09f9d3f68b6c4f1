"""What every source promises, on each of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from snapshot.kafka.settings import CLIENTS
from support.feeds import Feed, KafkaFeed, after, begin, comments, drain, ids, poll_until, wait_for_generation
from support.tail_feed import TailFeed


@pytest.fixture(params=[*CLIENTS, "tail"])
def feed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Feed]:
    found: Feed
    if request.param == "tail":
        found = TailFeed(tmp_path)
    else:
        found = KafkaFeed(request.getfixturevalue("fresh_kafka"), client=request.param)
    yield found
    found.close()


def test_delivers_every_event_once_from_the_beginning(feed: Feed) -> None:
    feed.publish(comments(range(1, 101)))
    source = feed.open()
    wait_for_generation(source)
    begin(source)
    assert ids(drain(source)) == list(range(1, 101))


def test_delivers_what_is_published_while_it_runs(feed: Feed) -> None:
    source = feed.open()
    wait_for_generation(source)
    begin(source)
    feed.publish(comments(range(1, 11)))
    assert ids(poll_until(source, lambda batches: len(ids(batches)) >= 10)) == list(range(1, 11))


def test_delivers_nothing_before_it_is_started(feed: Feed) -> None:
    feed.publish(comments(range(1, 11)))
    source = feed.open()
    generation = wait_for_generation(source)
    for batch in [source.poll(0.1) for _ in range(3)]:
        assert not any(batch)
    assert source.assignment().generation == generation
    assert not source.exhausted()


def test_intervals_are_contiguous_and_end_where_the_partition_ends(feed: Feed) -> None:
    source = feed.open()
    wait_for_generation(source)
    start = begin(source)
    batches = []
    for numbers in (range(1, 21), range(21, 41)):
        feed.publish(comments(numbers))
        batches += poll_until(source, lambda found: len(ids(found)) >= 20)
    ends = {name: offsets.end for name, offsets in source.offsets(frozenset(start)).items()}
    assert after(batches, start) == ends


def test_a_rewind_delivers_again_from_the_position_chosen_and_no_earlier(feed: Feed) -> None:
    feed.publish(comments(range(1, 21)))
    source = feed.open()
    wait_for_generation(source)
    start = begin(source)
    before = after(drain(source), start)
    feed.publish(comments(range(21, 31)))
    poll_until(source, lambda batches: len(ids(batches)) >= 10)
    begin(source, before)
    assert ids(poll_until(source, lambda batches: len(ids(batches)) >= 10)) == list(range(21, 31))


def test_a_start_for_an_old_generation_does_nothing(feed: Feed) -> None:
    feed.publish(comments(range(1, 11)))
    source = feed.open()
    generation = wait_for_generation(source)
    earliest = {name: found.earliest for name, found in source.offsets(source.assignment().partitions).items()}
    source.start(generation - 1, earliest)
    assert ids([source.poll(0.1) for _ in range(3)]) == []


def test_a_pause_delivers_nothing_and_loses_nothing(feed: Feed) -> None:
    feed.publish(comments(range(1, 51)))
    source = feed.open()
    wait_for_generation(source)
    start = begin(source)
    source.pause()
    feed.publish(comments(range(51, 101)))
    assert ids([source.poll(0.1) for _ in range(3)]) == []
    source.resume()
    batches = drain(source)
    assert ids(batches) == list(range(1, 101))
    after(batches, start)


def test_a_start_while_paused_waits_for_the_resume(feed: Feed) -> None:
    feed.publish(comments(range(1, 11)))
    source = feed.open()
    wait_for_generation(source)
    source.pause()
    begin(source)
    assert ids([source.poll(0.1) for _ in range(3)]) == []
    source.resume()
    assert ids(drain(source)) == list(range(1, 11))


def test_a_commit_is_there_for_the_next_consumer(feed: Feed) -> None:
    feed.publish(comments(range(1, 21)))
    source = feed.open()
    wait_for_generation(source)
    start = begin(source)
    assert all(offsets.committed is None for offsets in source.offsets(frozenset(start)).values())
    ends = after(drain(source), start)
    source.commit(ends)
    source.close()
    feed.publish(comments(range(21, 31)))
    successor = feed.open()
    wait_for_generation(successor)
    assert begin(successor) == ends
    assert ids(drain(successor)) == list(range(21, 31))


def test_offsets_name_the_readable_range_and_a_lasting_topic(feed: Feed) -> None:
    source = feed.open()
    wait_for_generation(source)
    names = source.assignment().partitions
    before = source.offsets(names)
    assert set(before) == names
    feed.publish(comments(range(1, 21)))
    now = source.offsets(names)
    if isinstance(feed, KafkaFeed):  # the tail gives numbers to what it delivers, so nothing has one before
        assert sum(now[name].end - before[name].end for name in names) == 20
    assert {name: found.topic_id for name, found in now.items()} == {
        name: found.topic_id for name, found in before.items()
    }


def test_what_comes_after_the_question_does_not_keep_it_from_being_exhausted(feed: Feed) -> None:
    feed.publish(comments(range(1, 6)))
    source = feed.open()
    wait_for_generation(source)
    begin(source)
    assert not source.exhausted()
    feed.publish(comments(range(6, 11)))
    assert set(range(1, 6)) <= set(ids(drain(source)))


def test_an_empty_source_is_exhausted_once_it_is_started(feed: Feed) -> None:
    source = feed.open()
    assert not source.exhausted()
    wait_for_generation(source)
    begin(source)
    assert ids(drain(source)) == []


def test_closing_lets_another_take_over(feed: Feed) -> None:
    first = feed.open()
    generation = wait_for_generation(first)
    every = first.assignment().partitions
    first.close()
    second = feed.open()
    assert wait_for_generation(second) >= 1
    assert second.assignment().partitions == every
    assert generation >= 1

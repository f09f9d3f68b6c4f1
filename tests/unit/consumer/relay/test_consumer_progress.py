from consumer.relay.consumer_progress import PublishedPositions


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

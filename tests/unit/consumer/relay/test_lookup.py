"""What may take long is asked beside the work."""

import threading
import time

import pytest

from consumer.relay.lookup import Lookup


def answered(lookup: Lookup[int]) -> int:
    while (found := lookup()) is None:
        time.sleep(0.001)
    return found


def test_there_is_no_answer_while_it_takes_long_and_each_is_asked_for_once() -> None:
    asked = list[int]()
    go_on = threading.Event()

    def ask() -> int:
        asked.append(len(asked))
        assert go_on.wait(30)
        return asked[-1]

    lookup = Lookup(ask)
    assert [lookup() for _ in range(5)] == [None] * 5
    go_on.set()
    assert answered(lookup) == 0
    assert answered(lookup) == 1
    assert asked == [0, 1]


def test_what_is_raised_is_raised_to_the_caller_and_it_is_asked_again() -> None:
    answers = iter([7])

    def ask() -> int:
        if not failed:
            failed.append(True)
            raise ValueError("down")
        return next(answers)

    failed = list[bool]()
    lookup = Lookup(ask)
    with pytest.raises(ValueError, match="down"):
        answered(lookup)
    assert answered(lookup) == 7

from collections.abc import Callable

from consumer.kafka.watchdog import Watchdog

Position = Callable[[int], int]


def test_an_assignment_that_does_not_come_is_noticed_after_the_limit() -> None:
    dog = Watchdog(60.0)
    assert dog.assigned(100.0, joined=False) is None
    assert dog.assigned(159.0, joined=False) is None
    assert dog.assigned(160.0, joined=False) == "no assignment for 60 s"


def test_an_assignment_in_between_restarts_the_time() -> None:
    dog = Watchdog(60.0)
    dog.assigned(0.0, joined=False)
    dog.assigned(50.0, joined=True)
    assert dog.assigned(90.0, joined=False) is None
    assert dog.assigned(149.0, joined=False) is None
    assert dog.assigned(150.0, joined=False) is not None


def test_the_ends_are_looked_up_only_when_a_position_is_flat_and_not_too_often() -> None:
    dog = Watchdog(60.0)
    assert not dog.moved(0.0, {"a/0": 1})
    assert not dog.moved(19.0, {"a/0": 1})
    assert dog.moved(20.0, {"a/0": 1})
    assert not dog.moved(21.0, {"a/0": 1}), "just looked"
    assert dog.moved(40.0, {"a/0": 1})


def test_a_position_that_moves_is_never_looked_up() -> None:
    dog = Watchdog(60.0)
    assert not any(dog.moved(float(second), {"a/0": second}) for second in range(200))


def test_a_partition_that_stands_before_its_end_for_the_limit_has_stalled() -> None:
    assert first_reason(lambda _: 1, end=9) == "a/0 is stalled at 1 for 60 s, its end is 9"


def test_a_partition_that_stands_at_its_end_has_not_stalled() -> None:
    assert first_reason(lambda _: 9, end=9) is None


def test_a_partition_that_moves_now_and_then_has_not_stalled() -> None:
    assert first_reason(lambda second: second // 50, end=999) is None


def test_a_partition_that_is_no_longer_read_is_forgotten() -> None:
    dog = Watchdog(60.0)
    dog.moved(0.0, {"a/0": 1})
    dog.ends(20.0, {"a/0": 9})
    dog.moved(30.0, {})
    dog.moved(31.0, {"a/0": 1})
    assert dog.ends(81.0, {"a/0": 9}) is None


def first_reason(position: Position, end: int) -> str | None:
    dog = Watchdog(60.0)
    for second in range(300):
        if dog.moved(float(second), {"a/0": position(second)}):
            reason = dog.ends(float(second), {"a/0": end})
            if reason is not None:
                return reason
    return None

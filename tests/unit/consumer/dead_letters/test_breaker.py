from consumer.dead_letters.breaker import BadStreak


def test_twenty_bad_ones_and_nothing_else_stop_the_daemon() -> None:
    streak = BadStreak()
    assert not streak.observe(0, 19)
    assert streak.observe(0, 1)


def test_a_few_bad_ones_among_good_ones_do_not() -> None:
    streak = BadStreak()
    assert not any(streak.observe(100, 40) for _ in range(100))


def test_half_is_not_most() -> None:
    assert not BadStreak().observe(30, 30)
    assert BadStreak().observe(30, 31)


def test_a_long_good_past_does_not_hide_a_bad_present() -> None:
    streak = BadStreak()
    streak.observe(100_000, 0)
    assert [streak.observe(0, 10) for _ in range(10)][-1]


def test_bad_ones_of_long_ago_do_not_count() -> None:
    streak = BadStreak()
    streak.observe(0, 19)
    streak.observe(1000, 0)
    assert not streak.observe(0, 19)


def test_empty_polls_change_nothing() -> None:
    streak = BadStreak()
    streak.observe(0, 19)
    assert not streak.observe(0, 0)
    assert streak.observe(0, 1)

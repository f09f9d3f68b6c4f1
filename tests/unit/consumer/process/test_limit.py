import pytest

from consumer.process.limit import ProgressLimit
from projections.errors import OperatorError


def test_without_progress_it_gives_up_with_the_reason() -> None:
    now = [0.0]
    limit = ProgressLimit(lambda: now[0], 60.0)
    for second in range(60):
        now[0] = float(second)
        limit.check((3, "a"), "the database is locked")
    now[0] = 60.0
    with pytest.raises(OperatorError, match="gave up after 60 s without progress: the database is locked"):
        limit.check((3, "a"), "the database is locked")


def test_any_progress_restarts_the_time() -> None:
    now = [0.0]
    limit = ProgressLimit(lambda: now[0], 60.0)
    for second in range(300):
        now[0] = float(second)
        limit.check(second // 50, None)
    now[0] = 310.0
    with pytest.raises(OperatorError, match="other processes"):
        limit.check(5, None)

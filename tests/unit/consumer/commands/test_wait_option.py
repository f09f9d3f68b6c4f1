"""What is waited for at the start."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from consumer.commands import wait_option
from consumer.commands.wait_option import opened
from projections.errors import DatabaseUnavailableError, OperatorError, UnreachableError
from projections.store.protocol import StoreUnavailableError

AWAY = [UnreachableError("no Redis answers"), DatabaseUnavailableError("restarting"), StoreUnavailableError("loading")]


class Opening:
    """Fails as it is given to, one error a time, and then opens."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.closed = False

    @contextmanager
    def __call__(self) -> Iterator[str]:
        if self.errors:
            raise self.errors.pop(0)
        yield "open"
        self.closed = True


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait_option, "_SECONDS", 0.0)


def test_a_server_that_cannot_be_reached_is_waited_for() -> None:
    opening = Opening(*AWAY)
    with opened(opening, wait=True) as found:
        assert found == "open"
        assert not opening.closed
    assert opening.closed


def test_a_mistake_is_not_waited_for() -> None:
    opening = Opening(*AWAY, OperatorError("REDIS_URL is not usable"))
    with pytest.raises(OperatorError, match="not usable"), opened(opening, wait=True):
        pytest.fail("it can't be opened")


@pytest.mark.parametrize("error", AWAY)
def test_without_the_flag_nothing_is_waited_for(error: Exception) -> None:
    with pytest.raises(type(error)), opened(Opening(error), wait=False):
        pytest.fail("it can't be opened")

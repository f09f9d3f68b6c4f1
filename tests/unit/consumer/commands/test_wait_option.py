"""What is waited for at the start."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from consumer.commands import wait_option
from consumer.commands.wait_option import opened
from projections.errors import DatabaseUnavailableError, NotMadeYetError, OperatorError, UnreachableError
from projections.store.protocol import StoreUnavailableError

AWAY = [
    UnreachableError("no Redis answers"),
    NotMadeYetError("no tables"),
    DatabaseUnavailableError("restarting"),
    StoreUnavailableError("loading"),
]


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


@pytest.fixture
def alive(tmp_path: Path) -> Path:
    return tmp_path / "alive"


def test_a_server_that_cannot_be_reached_is_waited_for(alive: Path) -> None:
    opening = Opening(*AWAY)
    with opened(opening, wait=True, alive=alive) as found:
        assert found == "open"
        assert not opening.closed
    assert opening.closed


def test_waiting_is_a_sign_of_life(alive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a supervisor would restart what only waits, and `docker compose up --wait` fail."""
    seen: list[bool] = []
    monkeypatch.setattr(time, "sleep", lambda _: seen.append(alive.exists()))
    with opened(Opening(UnreachableError("no Redis answers")), wait=True, alive=alive):
        assert seen == [True]
        assert alive.exists()  # the process takes it over


def test_what_ends_while_it_waits_leaves_no_sign_of_life(alive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    with (
        pytest.raises(KeyboardInterrupt),
        opened(Opening(UnreachableError("no Redis answers")), wait=True, alive=alive),
    ):
        pytest.fail("it was interrupted")
    assert not alive.exists()


def test_a_mistake_is_not_waited_for(alive: Path) -> None:
    opening = Opening(*AWAY, OperatorError("REDIS_URL is not usable"))
    with pytest.raises(OperatorError, match="not usable"), opened(opening, wait=True, alive=alive):
        pytest.fail("it can't be opened")


@pytest.mark.parametrize("error", AWAY)
def test_without_the_flag_nothing_is_waited_for(error: Exception, alive: Path) -> None:
    with pytest.raises(type(error)), opened(Opening(error), wait=False, alive=alive):
        pytest.fail("it can't be opened")
    assert not alive.exists()

"""What the process tells systemd."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.process import systemd
from consumer.process.liveness import Liveness


@pytest.fixture(params=["file", "abstract"])
def listening(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """The socket of a systemd."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as received:
        received.settimeout(0)
        received.bind(name if request.param == "file" else f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", name if request.param == "file" else f"@{name}")
        yield received


def test_the_watchdog_is_fed_while_all_threads_go_round(listening: socket.socket, tmp_path: Path) -> None:
    time = 0.0
    liveness = Liveness(tmp_path / "alive", lambda: time)
    liveness.heartbeat()
    assert listening.recv(100) == b"READY=1\nWATCHDOG=1"
    time = 59.0
    liveness.heartbeat()
    assert listening.recv(100) == b"READY=1\nWATCHDOG=1"
    liveness._heartbeats["another"] = -1.0  # noqa: SLF001 - a thread that is stuck
    time = 60.5
    liveness.heartbeat()
    with pytest.raises(BlockingIOError):
        listening.recv(100)
    liveness.close()
    assert listening.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("place", [None, "", "/nowhere/notify"])
def test_without_a_systemd_nothing_happens(place: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if place is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", place)
    systemd.notify(systemd.READY)

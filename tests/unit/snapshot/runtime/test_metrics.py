"""StatsD: what is sent, that nothing waits for it, and that the documentation names every metric."""

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, get_args

import pytest
from structlog.testing import capture_logs

from snapshot.runtime.metrics import Counter, Gauge, NoMetrics, StatsD, statsd_metrics

DOCUMENT = Path(__file__).parents[4] / "docs" / "operations" / "metrics.md"


class Client:
    """The library's client as far as it is used here; keeps what it was asked."""

    def __init__(self, asked: list[Any]) -> None:
        self.asked = asked

    def pipeline(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def incr(self, name: str, by: int) -> None:
        self.asked.append((name, by))

    def close(self) -> None:
        self.asked.append("closed")


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A StatsD server's socket: it only listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(10)
        yield made


def test_figures_are_summed_up_and_sent(server: socket.socket) -> None:
    with statsd_metrics("127.0.0.1", server.getsockname()[1]) as metrics:
        for _ in range(1000):
            metrics.count("signal_glaze.snapshots_generated", 2)
        metrics.count("signal_glaze.losses", 0)
        metrics.gauge("signal_glaze.due", 7)
        metrics.gauge("signal_glaze.due", 3)
    received: list[str] = []
    while not any("due" in line for line in received):
        received += server.recv(4096).decode().splitlines()
    sums: dict[str, float] = {}
    for line in received:
        name, value, kind = re.fullmatch(r"(.+):([0-9.]+)\|([cg])", line).groups()  # type: ignore[union-attr]
        sums[name] = float(value) + (sums.get(name, 0) if kind == "c" else 0)
    assert sums == {"signal_glaze.snapshots_generated": 2000, "signal_glaze.due": 3}


def test_without_a_host_nothing_is_sent() -> None:
    with statsd_metrics(None, 8125) as metrics:
        assert isinstance(metrics, NoMetrics)
    with statsd_metrics("", 8125) as metrics:
        metrics.count("signal_glaze.runs")
        metrics.gauge("signal_glaze.lag", 1.0)


def test_a_host_that_is_not_found_is_said_once_and_fails_nothing() -> None:
    def connect(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with capture_logs() as logged:
        metrics = StatsD("no.such.host", 8125, connect)
        metrics.count("signal_glaze.runs")
        metrics.close()
    assert [(line["log_level"], line["host"]) for line in logged] == [("warning", "no.such.host")]


def test_a_name_server_that_never_answers_holds_nobody_up() -> None:
    asked, answered = threading.Event(), threading.Event()

    def connect(*_: object) -> Client:
        asked.set()
        answered.wait()
        return Client([])

    metrics = StatsD("slow.example.org", 8125, connect)
    assert asked.wait(10)
    for _ in range(1000):
        metrics.count("signal_glaze.runs")
    metrics.close()  # returns, though the name is still being looked up
    assert not answered.is_set()
    answered.set()


def test_a_server_that_is_away_fails_nothing(server: socket.socket) -> None:
    port = server.getsockname()[1]
    server.close()
    with capture_logs() as logged, statsd_metrics("127.0.0.1", port) as metrics:
        metrics.count("signal_glaze.runs")
    assert logged == []


def test_an_address_of_the_other_family_is_tried_too() -> None:
    tried: list[Any] = []
    connected = threading.Event()

    def connect(_host: str, _port: int, *, ipv6: bool = False) -> Client:
        tried.append(ipv6)
        if not ipv6:
            raise OSError
        connected.set()
        return Client(tried)

    metrics = StatsD("v6.example.org", 8125, connect)
    assert connected.wait(10)
    metrics.count("signal_glaze.runs", 3)
    metrics.close()
    assert tried == [False, True, ("signal_glaze.runs", 3), "closed"]


def test_the_documentation_names_every_metric_and_no_other() -> None:
    rows = re.findall(r"^\| `(signal_glaze\.\w+)` \| (\w+) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(name, "counter") for name in get_args(Counter)] + [(name, "gauge") for name in get_args(Gauge)]

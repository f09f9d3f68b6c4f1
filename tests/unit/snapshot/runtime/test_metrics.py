"""StatsD: what is sent, that nothing waits for it, and that the documentation names every metric."""

import itertools
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, get_args

import pytest
from structlog.testing import capture_logs

from snapshot.runtime.metrics import Counter, Gauge, GaugeNames, NoMetrics, StatsD, statsd_metrics

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

    def _send_stat(self, name: str, value: str, _rate: float) -> None:
        self.asked.append(f"{name}:{value}")

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
    sums = received_by(server)
    assert {name: value for name, value in sums.items() if value} == {
        "signal_glaze.snapshots_generated": 2000,
        "signal_glaze.due": 3,
    }


def received_by(server: socket.socket) -> dict[str, float]:
    """Sums of counters, and gauges as they were last set, up to the first gauge `due`: gauges come last."""
    sums: dict[str, float] = {}
    while not any("due" in name for name in sums):
        for line in server.recv(4096).decode().splitlines():
            name, value, kind, tags = re.fullmatch(r"(.+):([0-9.]+)\|([cg])(.*)", line).groups()  # type: ignore[union-attr]
            sums[name + tags] = float(value) + (sums.get(name + tags, 0) if kind == "c" else 0)
    return sums


def test_counters_that_counted_nothing_are_sent_as_zero(server: socket.socket) -> None:
    with statsd_metrics("127.0.0.1", server.getsockname()[1]) as metrics:
        metrics.gauge("signal_glaze.due", 0)
    assert received_by(server) == {**dict.fromkeys(get_args(Counter), 0.0), "signal_glaze.due": 0}


@pytest.mark.parametrize(("gauges", "name"), [("shared", "{}"), ("suffix", "{}.{}"), ("tags", "{}|#process:{}")])
def test_gauges_of_several_processes_are_kept_apart_where_that_is_asked_for(
    server: socket.socket, gauges: GaugeNames, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "host.example.org")  # a dot would begin another part of a name
    with statsd_metrics("127.0.0.1", server.getsockname()[1], gauges) as metrics:
        metrics.gauge("signal_glaze.due", 3)
        metrics.count("signal_glaze.runs")
    received = received_by(server)
    assert received.pop(name.format("signal_glaze.due", f"host_example_org-{os.getpid()}")) == 3
    assert received.keys() == set(get_args(Counter))  # sums need no telling apart
    assert received["signal_glaze.runs"] == 1


@pytest.mark.parametrize("gauges", get_args(GaugeNames))
def test_all_is_repeated_but_gauges_that_another_process_may_set(gauges: GaugeNames) -> None:
    asked: list[Any] = []
    seconds = itertools.count(0.0, 11.0)
    metrics = StatsD("127.0.0.1", 8125, lambda *_: Client(asked), gauges=gauges, now=lambda: next(seconds))
    metrics.gauge("signal_glaze.due", 3)
    deadline = time.monotonic() + 10
    while sum(line == ("signal_glaze.losses", 0) for line in asked) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    metrics.close()
    assert asked.count(("signal_glaze.losses", 0)) >= 3
    due = [line for line in asked if isinstance(line, str) and line.startswith("signal_glaze.due")]
    assert (len(due) == 1) is (gauges == "shared")


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
    assert tried[:2] == [False, True]
    assert ("signal_glaze.runs", 3) in tried
    assert tried[-1] == "closed"


def test_the_documentation_names_every_metric_and_no_other() -> None:
    rows = re.findall(r"^\| `(signal_glaze\.\w+)` \| (\w+) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(name, "counter") for name in get_args(Counter)] + [(name, "gauge") for name in get_args(Gauge)]

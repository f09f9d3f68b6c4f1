"""deploy/observability: alerts and dashboard ask for what Prometheus has really scraped from running consumers."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from consumer.commands.admin import demo_database
from projections.whiteballoon import request_comments
from snapshot.runtime.metrics import Metrics, statsd_metrics
from support.commands import Started, on
from support.observing import DEPLOYED, Observer
from support.process import wait_until
from support.whiteballoon import WhiteBalloon

DASHBOARD = json.loads((DEPLOYED / "grafana" / "dashboards" / "signal-glaze.json").read_text(encoding="utf-8"))
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
ALERTS = set(re.findall(r"- alert: (\w+)", (DEPLOYED / "alerts.yaml").read_text(encoding="utf-8")))
PROVOKED = {"SignalGlazeDeletionsBlocked", "SignalGlazeNoConsumer", "SignalGlazeMetricsMissing"}
"""By what is really so; the others by figures that a process sends."""


@pytest.fixture
def observer(tmp_path: Path) -> Iterator[Observer]:
    folder = tmp_path / "observing"
    folder.mkdir()
    with Observer(folder) as opened:
        yield opened


def filled(query: str) -> str:
    """As Grafana asks it."""
    return query.replace("$__rate_interval", "20s").replace("$__range", "10m")


def until(holds: Callable[[], bool], what: Callable[[], object]) -> None:
    """A minute, then the test fails with what there is instead."""
    with suppress(TimeoutError):
        wait_until(holds, "it", 120)
    assert holds(), what()


def test_running_consumers_give_what_the_dashboard_and_the_alerts_ask_for(tmp_path: Path, observer: Observer) -> None:
    data, storage = tmp_path / "data", tmp_path / "storage"
    wb = WhiteBalloon(*demo_database.create(data))
    env = on(data, storage, STATSD_HOST="127.0.0.1", STATSD_PORT=str(observer.statsd_port), STATSD_GAUGES="tags")
    words = ("snapshot-consumer", "--sweep-interval", "1")
    with Started(*words, env=env, log=tmp_path / "one") as one, Started(*words, env=env, log=tmp_path / "two") as two:

        def unanswered() -> list[str]:
            return [query for query in QUERIES if not observer.query(filled(query))]

        until(lambda: '"caught up"' in one.said() or '"caught up"' in two.said(), lambda: (one.said(), two.said()))
        demo_database.add_comment(data, 3, "Is anybody there?", demo_database.START)  # so that there is a round
        until(lambda: not unanswered(), lambda: (unanswered(), one.said(), two.said()))
        due = {series["metric"]["process"] for series in observer.query("signal_glaze_due")}
        assert {process.rpartition("-")[2] for process in due} == {str(one.process.pid), str(two.process.pid)}
        (written,) = observer.query("signal_glaze_snapshots_generated_total")
        assert int(written["value"][1]) >= len(list((storage / "signal_profiles").glob("*.json"))) > 10
        unhealthy = [rule for rule in observer.rules() if rule["health"] != "ok"]
        assert unhealthy == []
        until(lambda: not observer.firing(), observer.firing)  # nor is the first fill drift, or a loss

        with wb.main.begin() as connection:
            connection.execute(request_comments.delete().where(request_comments.c.user_id < 10))
        until(lambda: observer.firing() == {"SignalGlazeDeletionsBlocked"}, lambda: (observer.firing(), one.said()))
        assert one.terminate(30) == two.terminate(30) == 0
    until(lambda: "SignalGlazeNoConsumer" in observer.firing(), observer.firing)
    asked = {name for rule in observer.rules() for name in re.findall(r"signal_glaze_\w+", rule["query"])}
    asked |= {name for query in QUERIES for name in re.findall(r"signal_glaze_\w+", query)}
    assert sorted(asked - observer.names()) == []


def gauge(name: Any, value: float) -> Callable[[Metrics], None]:  # noqa: ANN401  one of the names
    return lambda metrics: metrics.gauge(name, value)


def count(name: Any) -> Callable[[Metrics], None]:  # noqa: ANN401  one of the names
    return lambda metrics: metrics.count(name)


FIGURES: dict[str, Callable[[Metrics], None]] = {
    "SignalGlazeBehind": gauge("signal_glaze.lag_seconds", 31),
    "SignalGlazeNotFlushing": gauge("signal_glaze.due", 3),
    "SignalGlazeFlushFailures": count("signal_glaze.flush_failures"),
    "SignalGlazeLosses": count("signal_glaze.losses"),
    "SignalGlazeDrift": count("signal_glaze.drift"),
    "SignalGlazeDeadLetters": count("signal_glaze.events_invalid"),
    "SignalGlazeRowsUnreadable": count("signal_glaze.rows_unreadable"),
    "SignalGlazeRunFailures": count("signal_glaze.run_failures"),
}


def test_each_alert_fires_at_the_first_of_what_it_is_about_and_only_then(observer: Observer) -> None:
    """A counter is there before it counts, or its first increase would be none."""
    assert FIGURES.keys() | PROVOKED == ALERTS
    with statsd_metrics("127.0.0.1", observer.statsd_port, "tags") as metrics:
        for name in ("signal_glaze.due", "signal_glaze.lag_seconds", "signal_glaze.blocked_deletions"):
            gauge(name, 0)(metrics)
        until(lambda: bool(observer.query("count_over_time(signal_glaze_losses_total[20s]) > 2")), observer.names)
        until(lambda: not observer.firing(), observer.firing)
        fired: set[str] = set()
        for alert, figure in FIGURES.items():
            figure(metrics)
            until(lambda: observer.firing() == fired | {alert}, observer.firing)  # noqa: B023  asked at once
            fired.add(alert)
    observer.stop_exporter()
    until(lambda: "SignalGlazeMetricsMissing" in observer.firing(), observer.firing)


def test_the_dashboard_is_what_grafana_provisions() -> None:
    source = (DEPLOYED / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text(encoding="utf-8")
    uid = re.findall(r"uid: (\w+)", source)
    parts = [*DASHBOARD["panels"], *(target for panel in DASHBOARD["panels"] for target in panel["targets"])]
    assert {part["datasource"]["uid"] for part in parts} == set(uid)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    covered = [(panel["gridPos"], cell) for panel in DASHBOARD["panels"] for cell in cells(panel["gridPos"])]
    assert len({cell for _, cell in covered}) == len(covered)  # no panel lies on another
    provider = (DEPLOYED / "grafana" / "provisioning" / "dashboards" / "files.yaml").read_text(encoding="utf-8")
    (folder,) = re.findall(r"path: (\S+?)\}", provider)
    compose = (DEPLOYED.parents[1] / "compose.yaml").read_text(encoding="utf-8")
    assert f"./deploy/observability/grafana/dashboards:{folder}:ro" in compose


def cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    assert place["x"] + place["w"] <= 24  # Grafana's columns
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y

"""statsd_exporter and Prometheus as deploy/observability has them, as programs of this machine."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

import httpx2

from support.process import Process, free_port
from support.services import missing

ROOT = Path(__file__).parents[2]
DEPLOYED = ROOT / "deploy" / "observability"
EXPORTER = "v0.28.0"
_CACHE = ROOT / ".cache" / f"statsd_exporter-{EXPORTER}"
_MODULE = f"github.com/prometheus/statsd_exporter@{EXPORTER}"


def exporter_program() -> Path:
    """statsd_exporter: the one on PATH, else one that Go builds into the checkout's cache, once."""
    found = shutil.which("statsd_exporter")
    program = Path(found) if found else _CACHE / "statsd_exporter"
    if program.exists():
        return program
    if shutil.which("go") is None:
        missing("no statsd_exporter on PATH, and no Go to build it")
    env = os.environ | {"GOBIN": str(_CACHE)}
    built = subprocess.run(["go", "install", _MODULE], env=env, capture_output=True, text=True, check=False)
    if built.returncode:
        missing(f"no statsd_exporter on PATH, and Go can't build {_MODULE}: {built.stderr[-300:]}")
    return program


def prometheus_program() -> str:
    found = shutil.which("prometheus")
    if found is None:
        missing("no prometheus on PATH: on Debian or Ubuntu, apt install prometheus")
    return found


class Observer:
    """Both, with the files that are deployed but for ports, times between scrapes, and how long an alert waits."""

    def __init__(self, folder: Path) -> None:
        exporter, prometheus = exporter_program(), prometheus_program()
        self.statsd_port, web, port = free_port(), free_port(), free_port()
        mapping = (DEPLOYED / "statsd-exporter.yaml").read_text().replace("ttl: 1m", "ttl: 15s")
        (folder / "statsd-exporter.yaml").write_text(mapping)
        self._exporter = Process(
            [
                exporter,
                f"--statsd.mapping-config={folder / 'statsd-exporter.yaml'}",
                f"--statsd.listen-udp=127.0.0.1:{self.statsd_port}",
                "--statsd.listen-tcp=",
                f"--web.listen-address=127.0.0.1:{web}",
            ],
            folder / "statsd-exporter.log",
            cwd=folder,
        )
        self._client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        config = (DEPLOYED / "prometheus.yaml").read_text().replace("statsd-exporter:9102", f"127.0.0.1:{web}")
        (folder / "prometheus.yaml").write_text(config.replace("_interval: 5s", "_interval: 1s"))
        waits = ("for: 1m", "for: 2m", "for: 5m")
        alerts = (DEPLOYED / "alerts.yaml").read_text()
        for wait in waits:
            alerts = alerts.replace(wait, "for: 0s")
        (folder / "alerts.yaml").write_text(alerts)
        self._prometheus = Process(
            [
                prometheus,
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            folder / "prometheus.log",
            cwd=folder,
        )
        self._prometheus.wait_ready(self._is_ready, "Prometheus")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._prometheus.stop()
        self._exporter.stop()

    def stop_exporter(self) -> None:
        self._exporter.stop()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that it gives now; an error of Prometheus fails the test."""
        return list(self._ask("query", query=expression)["result"])

    def names(self) -> set[str]:
        """Of all metrics that were scraped."""
        return set(self._ask("label/__name__/values"))

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def firing(self) -> set[str]:
        return {rule["name"] for rule in self.rules() if rule["state"] == "firing"}

    def _ask(self, what: str, **parameters: str) -> Any:  # noqa: ANN401  JSON
        answer = self._client.get(f"/api/v1/{what}", params=parameters)
        found = json.loads(answer.text)
        assert found["status"] == "success", found
        return found["data"]

    def _is_ready(self) -> bool:
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx2.TransportError:
            return False

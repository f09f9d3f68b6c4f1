"""A store that goes away when everything was opened, and before anything was asked of it by the daemon's own thread."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from consumer.commands.admin import demo_database
from consumer.daemon import daemon as daemon_module
from consumer.daemon.daemon import open_daemon
from consumer.daemon.settings import DaemonSettings
from projections.store.protocol import StoreUnavailableError
from snapshot.cli.options import DatabaseOptions, FileOptions, StoreOptions
from snapshot.cli.resources import OpenStore
from snapshot.runtime.metrics import NoMetrics
from support.process import wait_until
from support.stores import Passing, memory_bench


class Gone:
    """A store that can't be reached; it counts how often that was tried."""

    def __init__(self) -> None:
        self.tried = 0

    def __getattr__(self, _name: str) -> Any:  # noqa: ANN401  whatever is asked for
        return self._refuse

    def _refuse(self, *_: object, **_options: object) -> None:
        self.tried += 1
        raise StoreUnavailableError("Redis does not answer")


class Replaced(Passing):
    """A store that can become another."""

    def become(self, store: Any) -> None:  # noqa: ANN401  a store, or what stands for it
        self._store = store


def test_an_outage_just_after_the_start_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo_database.create(tmp_path / "data")
    there, gone = memory_bench().fresh(), Gone()
    store = Replaced(there)

    @contextmanager
    def opened(*_: object) -> Iterator[OpenStore]:
        yield OpenStore(store.as_store(), lambda: None)  # type: ignore[arg-type]  # any store will do

    monkeypatch.setattr(daemon_module, "open_store", opened)
    urls = (f"sqlite:///{tmp_path / 'data' / name}" for name in ("app.db", "comment_llm_insights.db"))
    files = FileOptions(tmp_path / "storage")
    settings = DaemonSettings(DatabaseOptions(*urls), files, StoreOptions(), None, "group", None, until_caught_up=False)
    with open_daemon(settings, NoMetrics()) as (daemon, _), ThreadPoolExecutor(1) as thread:
        store.become(gone)
        running = thread.submit(partial(daemon.run, lambda: None, until_caught_up=False))
        try:
            wait_until(lambda: running.done() or gone.tried > 20, "the store is asked for")
            store.become(there)
            wait_until(lambda: running.done() or any(files.profiles.glob("*.json")), "files are written")
        finally:
            daemon.stop()
        assert running.result().flushed.written

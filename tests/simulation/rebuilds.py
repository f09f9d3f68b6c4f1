"""`snapshot-rebuild` as `snapshot.rebuild.command` wires it, in one process."""

from collections.abc import Callable
from pathlib import Path

from simulation.daemons import FlushTimes, Outside, Place, open_flusher

from projections.errors import DatabaseUnavailableError, OperatorError
from projections.projection import Projection
from projections.store.protocol import StoreUnavailableError
from snapshot.cli.groups import refuse_unknown_group
from snapshot.processes.spawn import Inline
from snapshot.rebuild.rebuild import Order, Rebuild
from snapshot.rebuild.report import Report
from snapshot.rebuild.tasks import Output, RebuildContext
from snapshot.reconcile.reconcile import Scope
from snapshot.runtime.progress import NoProgress

_LAG_SECONDS = 10.0


class RebuildProgram:
    """One run over all users; `reported` is called with what it found. Where it could not run, `refused` says why."""

    def __init__(
        self,
        outside: Outside,
        place: Place,
        times: FlushTimes,
        reported: Callable[[Report], None],
        *,
        prune_all: bool = False,
    ) -> None:
        self.process = outside.process
        self.ended = False
        self._reported = reported
        self.refused: str | None = None
        self._outside = outside
        self._place = place
        self._times = times
        self._prune_all = prune_all
        self.process.start("main", self._main)

    def _main(self) -> None:
        try:
            self._reported(self._run())
        except (StoreUnavailableError, DatabaseUnavailableError, OperatorError, OSError) as error:
            self.refused = str(error)
        self.ended = True

    def _run(self) -> Report:
        outside, process = self._outside, self.process
        projection = Projection(outside.store, lambda: bytes.fromhex(process.token()))
        refuse_unknown_group(
            self._place.group_slug,
            outside.database.groups(),
            Path(self._place.path),
            outside.store,
            disk=outside.disk,
        )
        folder, flusher = open_flusher(outside, self._place, self._times)
        scope = Scope(self._place.group_slug, deep=process.draw() < 0.3)
        work = RebuildContext(projection, outside.database, scope, Output(folder, flusher))
        order = Order(None, prune_all=self._prune_all, lag_seconds=_LAG_SECONDS)
        pool = Inline(work)
        rebuild = Rebuild(work, pool, order, NoProgress(), now=process.now, sleep=process.sleep, token=process.token())
        return rebuild.run()

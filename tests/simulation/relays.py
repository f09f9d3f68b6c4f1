"""`snapshot-relay` as `consumer.commands.relay` wires it."""

from collections.abc import Callable
from contextlib import nullcontext

from simulation.daemons import Outside
from simulation.log_source import LogSender

from consumer.relay.relay import Relay
from consumer.tail.state import TailSettings
from projections.projection import Projection
from snapshot.runtime.metrics import Metrics
from snapshot.runtime.progress import NoProgress


class RelayProgram:
    """One relay. `wall` gives microseconds since 1970."""

    def __init__(
        self, outside: Outside, sender: LogSender, settings: TailSettings, wall: Callable[[], int], metrics: Metrics
    ) -> None:
        self.process = process = outside.process
        self.relay = Relay(
            Projection(outside.store, lambda: bytes.fromhex(process.token())),
            outside.database,
            sender,
            sender.topic_ends,
            settings,
            metrics=metrics,
            progress=lambda: nullcontext(NoProgress()),
            token=process.token(),
            now=process.now,
            wall=wall,
            sleep=process.sleep,
        )
        process.start("main", self._main)

    def _main(self) -> None:
        while True:
            self.relay.step(0.5)

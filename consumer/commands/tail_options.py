"""How the database is followed: the same flags for the relay and for the embedded default."""

from dataclasses import dataclass
from typing import Annotated

import msgspec
import typer

from consumer.tail.state import TailSettings

_PANEL = "Database tail"
_DEFAULTS = TailSettings()


@dataclass(frozen=True)
class TailOptions:
    """How often, how fast, and whether a mass deletion is confirmed."""

    interval: Annotated[
        float,
        typer.Option(
            envvar="RELAY_INTERVAL", min=0.05, max=60.0, help="Seconds between polls.", rich_help_panel=_PANEL
        ),
    ] = _DEFAULTS.poll_interval
    sweep_interval: Annotated[
        float,
        typer.Option(
            envvar="RELAY_SWEEP_INTERVAL",
            min=0.0,
            max=3600.0,
            help="Minimum seconds between sweep starts.",
            rich_help_panel=_PANEL,
        ),
    ] = _DEFAULTS.sweep_interval
    sweep_rows_per_second: Annotated[
        int,
        typer.Option(
            envvar="RELAY_SWEEP_ROWS_PER_SECOND",
            min=1,
            help="Rows a sweep reads per second.",
            rich_help_panel=_PANEL,
        ),
    ] = _DEFAULTS.sweep_rows_per_second
    prune_all: Annotated[
        bool,
        typer.Option(
            "--prune-all",
            help="Proceed although more than 10 % would be removed (the log names what is blocked).",
            rich_help_panel=_PANEL,
        ),
    ] = False

    def settings(self, *, batch: int = _DEFAULTS.batch) -> TailSettings:
        """What the tail takes."""
        return msgspec.structs.replace(
            _DEFAULTS,
            poll_interval=self.interval,
            sweep_interval=self.sweep_interval,
            sweep_rows_per_second=self.sweep_rows_per_second,
            batch=batch,
            prune_all=self.prune_all,
        )

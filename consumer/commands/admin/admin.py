"""The entry point `snapshot-admin`. A new command is a module beside this one, and a line here.

A command is imported when it is asked for: all of them together take seconds.
"""

import importlib
from typing import Any

import typer
from typer.core import TyperGroup

from snapshot.cli.command import run
from snapshot.cli.options import with_options
from snapshot.cli.usage import dress

_COMMANDS = {
    "status": "status.status",
    "check": "check",
    "groups": "groups",
    "show": "profile.show",
    "explain": "profile.explain",
    "diff": "profile.diff",
    "history": "profile.change_history",
    "wait": "profile.wait",
    "watch": "profile.watch",
    "serve": "serve",
    "dead-letters": "dead_letters",
    "forget": "forget",
    "compact-announcements": "compact_announcements",
    "topics": "topics",
    "demo": "demo",
    "populate": "populate.populate",
}
"""Each command's module, in the order of the help. It has `<name>_command`, or an `app` of its own."""


class _Commands(TyperGroup):
    def list_commands(self, _ctx: Any) -> list[str]:  # noqa: ANN401 - click's, which typer may have a copy of
        """All names."""
        return list(_COMMANDS)

    def get_command(self, _ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - click's
        """Import a command."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"consumer.commands.admin.{_COMMANDS[cmd_name]}")
        own: typer.Typer | None = getattr(module, "app", None)
        if own is None:
            own = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            own.command(cmd_name)(with_options(getattr(module, f"{cmd_name.replace('-', '_')}_command")))
        command = dress(typer.main.get_command(own))
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Inspect the snapshotter and set it up.",
)


@app.callback()
def _admin() -> None:
    """Inspect the snapshotter and set it up."""


def admin() -> None:
    """Run `snapshot-admin`."""
    run(app)

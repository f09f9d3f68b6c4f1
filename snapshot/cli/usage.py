"""What every command has beside its own options: `--help`, `-h`, `--version`; each program has shell completion too."""

import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from projections import __version__
from projections.profile_key import HIGHEST_ID
from snapshot.runtime.stdio import print_line, print_safely


def program(app: Any) -> Any:  # noqa: ANN401 - a Typer app, and click's command
    """Make what a process runs of a Typer app; anything else stays as it is."""
    if not isinstance(app, typer.Typer):
        return app
    command = dress(typer.main.get_command(app))
    command.params += map(_dress_parameter, typer.main.get_install_completion_arguments())
    return command


def dress(command: Any) -> Any:  # noqa: ANN401 - click's, which typer may have a copy of
    """Give a command, and all below it, the options that every command has, and a help without names of types."""
    own = typer.Typer(add_completion=False)
    own.command(add_help_option=False)(_every_command)
    command.add_help_option = False
    # Lines as long as the terminal is wide: typer would keep those of the docstring.
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    command.help = "\n\n".join(" ".join(one.split()) for one in paragraphs)
    command.params += typer.main.get_command(own).params
    for parameter in command.params:
        _dress_parameter(parameter)
    for each in getattr(command, "commands", {}).values():
        dress(each)
    return command


def completing() -> bool:
    """Whether a shell asks what may come next: it would show whatever else is printed."""
    return f"_{Path(sys.argv[0]).name.replace('-', '_').upper()}_COMPLETE" in os.environ


def _print_version(context: typer.Context, asked: bool) -> None:  # noqa: FBT001 - typer's callback
    if asked and not context.resilient_parsing:
        print_line(f"{context.find_root().info_name} {__version__}")
        raise typer.Exit


def _print_help(context: typer.Context, asked: bool) -> None:  # noqa: FBT001 - typer's callback
    if asked and not context.resilient_parsing:
        print_safely(lambda: typer.echo(context.get_help()))
        raise typer.Exit


def _flag(*names: str, text: str, callback: Callable[[typer.Context, bool], None]) -> Any:  # noqa: ANN401 - typer's
    return typer.Option(*names, metavar="", help=text, is_eager=True, expose_value=False, callback=callback)


def _every_command(
    _version: Annotated[  # noqa: FBT002 - a flag
        bool, _flag("--version", text="Print the version and exit.", callback=_print_version)
    ] = False,
    _help: Annotated[  # noqa: FBT002 - a flag
        bool, _flag("--help", "-h", text="Show this message and exit.", callback=_print_help)
    ] = False,
) -> None:
    """Is never run: its options are taken."""


def _dress_parameter(parameter: Any) -> Any:  # noqa: ANN401 - click's
    """Leave out of the help what typer calls a type (`<bool>`, `<int range>`); choices stay, without brackets."""
    display = getattr(parameter, "display_type_rich", None)  # older versions of typer have none, nor the brackets
    if display is not None:
        parameter.display_type_rich = lambda ctx: _without_type(display(ctx=ctx))
        if parameter.max == HIGHEST_ID:
            parameter._get_number_range_help_str = lambda: None  # noqa: SLF001 - any id
    return parameter


def _without_type(text: str | None) -> str:
    if text is None or not text.startswith("<"):
        return text or ""
    return text.strip("<>") if "|" in text else ""

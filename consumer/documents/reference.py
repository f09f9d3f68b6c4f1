"""The reference pages that are generated from the options: every command, and every environment variable."""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from typer.main import get_command

from consumer.commands import consumer, relay
from consumer.commands.admin import admin
from snapshot import wb
from snapshot.rebuild import command as rebuild

_WITHOUT_FLAG = {
    "SNAPSHOT_LOG_FORMAT": (
        "auto",
        "`console`, `json`, or `auto`: readable lines on a terminal, else JSON lines.",
    ),
    "SNAPSHOT_LOG_LEVEL": ("info", "`debug`, `info`, `warning` or `error`."),
    "TZ": ("the system's", "The time zone of SNAPSHOT_SCHEDULE."),
    "NOTIFY_SOCKET": ("set by systemd", "Where readiness and the watchdog's signs of life are sent (sd_notify)."),
}
"""Variables that are read beside all flags."""
_OTHERS = "Others"
_COMPLETION = """
Each program completes its commands and flags in bash, zsh and fish: run it once with `--install-completion`, which adds
it to the shell's start-up file, and open a new shell. `--show-completion` prints the script instead."""


class Command(NamedTuple):
    """A command as it is typed, and what click knows of it."""

    words: str
    click: Any


def commands() -> Iterator[Command]:
    """All commands that do something, groups before their own."""
    programs = {
        "snapshot-consumer": consumer.consumer.args[0],
        "snapshot-rebuild": rebuild.main.args[0],
        "snapshot-relay": relay.relay.args[0],
        "snapshot-admin": admin.app,
        "wb signal-profile": wb.app,
    }
    for name, app in programs.items():
        yield from _under(name, get_command(app))


def _under(words: str, command: Any) -> Iterator[Command]:  # noqa: ANN401 - click's, which typer may have a copy of
    if not hasattr(command, "list_commands"):
        command.params = [one for one in command.params if one.name not in ("_version", "_help")]
        yield Command(words, command)
        return
    for name in command.list_commands(None):
        yield from _under(f"{words} {name}", command.get_command(None, name))


def variables() -> set[str]:
    """All environment variables that any command reads."""
    return {one.envvar for _, click in commands() for one in click.params if one.envvar is not None} | set(
        _WITHOUT_FLAG
    )


def configuration_page() -> str:
    """The page of environment variables, by what they are about."""
    panels: dict[str, dict[str, tuple[Any, list[str]]]] = {}
    for words, click in commands():
        for option in click.params:
            if option.envvar is not None:
                panel = panels.setdefault(option.rich_help_panel or _OTHERS, {})
                panel.setdefault(option.envvar, (option, []))[1].append(words)
    lines = [
        "# Configuration",
        "",
        "Each setting is an environment variable and a flag; the flag wins. An empty variable counts as not set; an",
        "empty path is an error.",
        "[Commands](commands.md) has the flags that are no settings.",
    ]
    panels[_OTHERS] = panels.pop(_OTHERS, {})
    for name, options in panels.items():
        if options:
            rows: list[tuple[str, ...]] = [
                (f"`{variable}`", f"`{option.opts[0]}`", _default(option), option.help, _listed(used))
                for variable, (option, used) in options.items()
            ]
            lines += ["", f"## {name}", "", *_table(("variable", "flag", "default", "meaning", "read by"), rows)]
    rows = [(f"`{name}`", default, text) for name, (default, text) in _WITHOUT_FLAG.items()]
    lines += ["", "## Without a flag", "", *_table(("variable", "default", "meaning"), rows)]
    return "\n".join(lines) + "\n"


def _listed(used: Sequence[str]) -> str:
    """Name the programs, and of `snapshot-admin` only that it is one of them where several commands are."""
    programs = dict.fromkeys("snapshot-admin" if words.startswith("snapshot-admin") else words for words in used)
    return ", ".join(f"`{words}`" for words in programs)


def command_page() -> str:
    """The page of commands: what each does, its arguments, its own flags, and the settings that it takes."""
    lines = ["# Commands", "", "`--help` (`-h`) and `--version` are flags of every command.", _COMPLETION]
    for words, click in commands():
        arguments = [one for one in click.params if one.param_type_name == "argument"]
        usage = " ".join([words, *(_argument(one) for one in arguments)])
        lines += ["", f"## `{words}`", "", f"`{usage} [OPTIONS]`", "", inspect.cleandoc(click.help or "")]
        own = [one for one in click.params if one.envvar is None and one not in arguments]
        if own:
            rows = [(f"`{one.opts[0]}`", _default(one), one.help) for one in own]
            lines += ["", *_table(("flag", "default", "meaning"), rows)]
        panels = dict.fromkeys(one.rich_help_panel or _OTHERS for one in click.params if one.envvar is not None)
        if panels:
            links = (f"[{panel}](configuration.md#{panel.lower().replace(' ', '-')})" for panel in panels)
            lines += ["", f"Settings: {', '.join(links)}."]
    return "\n".join(lines) + "\n"


def _argument(one: Any) -> str:  # noqa: ANN401 - click's
    name = (one.metavar or one.name).strip("[]").upper()
    return name if one.required else f"[{name}]"


def _default(option: Any) -> str:  # noqa: ANN401 - click's
    if isinstance(option.show_default, str):
        return option.show_default
    if option.default is None or option.is_flag or callable(option.default):
        return ""
    return f"`{option.default}`"


def _table(names: Sequence[str], rows: Sequence[Sequence[str | None]]) -> list[str]:
    cells = [[(cell or "").replace("|", "\\|") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (names, ["---"] * len(names), *cells)]

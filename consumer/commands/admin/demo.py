"""`snapshot-admin demo`: the whole way, from a comment to a file, on a database of its own."""

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from consumer.commands.admin import demo_database
from consumer.daemon.daemon import Daemon, open_daemon
from consumer.daemon.settings import DaemonSettings
from projections.errors import OperatorError
from projections.profile_key import ProfileKey
from snapshot.cli import options
from snapshot.cli.options import DatabaseOptions, FileOptions, StoreOptions
from snapshot.files.ownership import file_name
from snapshot.runtime import logs
from snapshot.runtime.metrics import NoMetrics
from snapshot.schema import SignalProfileSnapshot, parse_file

_OWN_FOLDER = ".made-by-snapshot-admin-demo"
_USER = 3
_TIMEOUT = 30.0
_FEWEST_COLUMNS = 5
_UNBOUNDED = 1000
_BODY = (
    "Porchfest starts at noon! https://partiful.com/e/porchfest-2024\n\n[attachments: porch.jpg]\n(Reactions: Wren 🎉)"
)


def demo_command(
    folder: Annotated[
        Path,
        typer.Option(
            parser=options.folder, metavar="PATH", help="Folder for the demo's database and files; cleared at each run."
        ),
    ] = Path("demo"),
) -> None:
    """Create a small database, show its profiles, add a comment and show the one profile that changes."""
    logs.configure(sys.stderr, level="warning")  # the demo itself says what happens
    demo(folder, Console())


def demo(folder: Path, console: Console) -> None:
    """Create the database, consume it, show all profiles; then add a comment and show the profile that changed."""
    _clear(folder)
    main, insights = demo_database.create(folder / "data")
    names = dict(enumerate([*demo_database.PEOPLE, demo_database.NEWCOMER, demo_database.VISITOR], 1))
    files = FileOptions(storage_dir=folder / "storage")
    settings = DaemonSettings(
        DatabaseOptions(main, insights), files, StoreOptions(), None, "demo", None, until_caught_up=True
    )
    began = time.monotonic()
    with open_daemon(settings, NoMetrics()) as (daemon, restart_embedded_redis):
        summary = daemon.run(restart_embedded_redis, until_caught_up=True)
    profiles = [parse_file(path.read_bytes()) for path in sorted(files.profiles.glob("*.json"))]
    console.print(table(profiles, names, console))
    console.print(
        f"\n{summary.events} events became {len(profiles)} profiles in {time.monotonic() - began:.1f} s, "
        "without a broker: the consumer read the database itself.\n"
    )
    _change(settings, folder / "data", names, console)


def _change(settings: DaemonSettings, data: Path, names: dict[int, str], console: Console) -> None:
    key = ProfileKey(_USER, next(iter(demo_database.GROUPS)))
    place = settings.files.profiles / file_name(key, None)
    before = parse_file(place.read_bytes())
    with _running(settings) as daemon:
        time.sleep(1.0)  # a daemon that has been running for a while
        at = datetime.fromisoformat("2024-06-10T12:00:00")
        demo_database.add_comment(data, _USER, _BODY, at, tags=("porchfest",))
        began = time.monotonic()
        after = _next(place, before, daemon)
        seconds = time.monotonic() - began
    console.print(f"[bold]{names[_USER]}[/bold] wrote: [italic]{_BODY.splitlines()[0]}[/italic]")
    console.print(_difference(before, after))
    console.print(
        f"The file was there {seconds:.2f} s after the comment: {escape(str(place.resolve()))}", soft_wrap=True
    )


@contextmanager
def _running(settings: DaemonSettings) -> Iterator[threading.Thread]:
    """A daemon in the background, as an operator would have it."""
    with open_daemon(settings._replace(until_caught_up=False), NoMetrics()) as (daemon, restart_embedded_redis):
        thread = threading.Thread(target=_run, args=(daemon, restart_embedded_redis), daemon=True)
        thread.start()
        try:
            yield thread
        finally:
            daemon.stop()
            thread.join(10)


def _run(daemon: Daemon, restart_embedded_redis: object) -> None:
    daemon.run(restart_embedded_redis, until_caught_up=False)  # type: ignore[arg-type]


def _next(place: Path, before: SignalProfileSnapshot, daemon: threading.Thread) -> SignalProfileSnapshot:
    deadline = time.monotonic() + _TIMEOUT
    while (
        now := parse_file(place.read_bytes())
    ).top_tags == before.top_tags or now.message_count == before.message_count:
        if not daemon.is_alive() or time.monotonic() > deadline:
            raise OperatorError(f"{place} did not change within {_TIMEOUT:.0f} s; the log above may say why")
        time.sleep(0.005)
    return now


def table(profiles: list[SignalProfileSnapshot], names: dict[int, str], console: Console) -> Table:
    """All profiles; without the last columns where the terminal has no room for them."""
    headings = ["Member", "Msgs", "Last seen", "Top link", "Top tag", "Reactions", "Files"]
    unbounded = console.options.update(width=_UNBOUNDED)  # a measure is cut to the width, too
    while True:
        shown = _table(profiles, names, headings)
        if len(headings) == _FEWEST_COLUMNS or console.measure(shown, options=unbounded).maximum <= console.width:
            return shown
        headings.pop()


def _table(profiles: list[SignalProfileSnapshot], names: dict[int, str], headings: list[str]) -> Table:
    shown = Table(
        title="Signal profiles",
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for heading in headings:
        shown.add_column(
            heading,
            justify="right" if heading == "Msgs" else "left",
            no_wrap=not heading.startswith("Top"),  # a cut line would hide how often
        )
    group = ""
    for one in sorted(profiles, key=lambda profile: (profile.group_slug, -profile.message_count)):
        if one.group_slug != group:
            if group:
                shown.add_row()
            group = one.group_slug
            shown.add_row(f"[bold]{group}[/bold]")
        shown.add_row(*_cells(one, names)[: len(headings)])
    return shown


def _cells(one: SignalProfileSnapshot, names: dict[int, str]) -> list[str]:
    return [
        names[one.user_id],
        str(one.message_count),
        f"{one.last_seen_at:%d %b}",
        " ".join(f"{link.domain} ×{link.count}" for link in one.top_links[:1]),
        " ".join(f"{tag.label} ×{tag.count}" for tag in one.top_tags[:1]),
        " ".join(f"{word} {count}" for word, count in list(one.reaction_counts.items())[:3]),
        ", ".join(f"{count} {kind}" for kind, count in list(one.attachment_counts.items())[:2]),
    ]


def _difference(before: SignalProfileSnapshot, after: SignalProfileSnapshot) -> Table:
    table = Table(header_style="bold")
    for heading in ("Field", "Before", "After"):
        table.add_column(heading, overflow="fold")
    old, new = before.to_dict(), after.to_dict()
    for field in new:
        if old[field] != new[field]:
            table.add_row(field, _short(old[field]), _short(new[field]))
    table.add_row("snapshot_hash", before.snapshot_hash[:12] + "…", after.snapshot_hash[:12] + "…")
    return table


def _short(value: object) -> str:
    if isinstance(value, list):
        return "\n".join(_short(item) for item in value)
    if isinstance(value, dict):
        name = value.get("url") or value.get("label")
        return f"{name} ×{value['count']}" if name else "  ".join(f"{key} {count}" for key, count in value.items())
    return str(value)


def _clear(folder: Path) -> None:
    """Empty the folder; one that the demo did not make is refused."""
    try:
        if folder.exists() and any(folder.iterdir()):
            if not (folder / _OWN_FOLDER).exists():
                raise OperatorError(f"{folder} contains files that the demo did not make: choose another with --folder")
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _OWN_FOLDER).touch()
    except OSError as error:
        raise OperatorError(f"{folder} can't be used ({error.strerror}): choose another with --folder") from error

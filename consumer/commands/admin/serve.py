"""`snapshot-admin serve`: all that the other commands show as a page, and as a JSON API."""

import importlib.util
from typing import Annotated

import typer

from consumer.process.signals import handle_signals
from projections.errors import OperatorError
from snapshot.cli.options import DatabaseOptions, KafkaOptions
from snapshot.cli.read_only import PlaceOptions
from snapshot.runtime.stdio import print_line

_NEEDED = ("jinja2", "starlette", "uvicorn")
_PANEL = "Page"


def serve_command(  # noqa: PLR0913, PLR0917 - each is a flag, or a group of flags
    database: DatabaseOptions,
    place: PlaceOptions,
    kafka: KafkaOptions,
    host: Annotated[
        str, typer.Option("--host", envvar="SNAPSHOT_WEB_HOST", help="Address to listen on.", rich_help_panel=_PANEL)
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port",
            envvar="SNAPSHOT_WEB_PORT",
            min=0,
            max=65535,
            help="0: any free one.",
            rich_help_panel=_PANEL,
        ),
    ] = 8780,
    names: Annotated[
        str,
        typer.Option(
            "--name",
            envvar="SNAPSHOT_WEB_NAMES",
            help="Names that a proxy with TLS has for the page; several separated by commas.",
            rich_help_panel=_PANEL,
        ),
    ] = "",
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="SNAPSHOT_WEB_TOKEN",
            help="Who looks has to know it; needed off the loopback. The environment variable is safer than the flag.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    login_link: Annotated[  # noqa: FBT002 - a flag
        bool,
        typer.Option("--login-link", help="Print a link that logs one browser in within ten minutes, and end."),
    ] = False,
) -> None:
    """Serve a page with status, profiles, explanations and live changes, and a JSON API; read-only, until Ctrl-C.

    Example: snapshot-admin serve, then open http://127.0.0.1:8780

    Exit codes: 0 stopped, 2 could not run.
    """
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise OperatorError(f"serve needs {', '.join(missing)}: run `pip install 'signal-identity-snapshotter[web]'`")
    # What the page is made of is imported only for it.
    from consumer.web.access import Access  # noqa: PLC0415
    from consumer.web.app import make_app  # noqa: PLC0415
    from consumer.web.live.connection import Sources  # noqa: PLC0415
    from consumer.web.live.live import Live  # noqa: PLC0415
    from consumer.web.server import PageServer, listen  # noqa: PLC0415

    access = Access(host, token or None, filter(None, names.split(",")))
    if login_link:
        name = names.partition(",")[0].strip()
        url = f"https://{name}" if name else _address(host, port)
        if access.open:
            raise OperatorError(f"no token is set, so the page asks for none: open {url}, or set SNAPSHOT_WEB_TOKEN")
        print_line(f"{url}/login?code={access.login_code()}")
        return
    live = Live(Sources(database, place, kafka.settings))
    with handle_signals() as signals:
        with listen(host, port) as listening:
            server = PageServer(make_app(live, access), live)
            signals.call(server.stop)
            print_line(f"serving {_address(host, listening.getsockname()[1])} until Ctrl-C")
            server.run([listening])
        print_line("stopped")


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

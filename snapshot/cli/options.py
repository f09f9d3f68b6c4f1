"""The options that commands share: each a flag with an environment variable.

A command takes groups of options; `with_options` turns their fields into flags, so that a flag is described once and
means the same everywhere.
"""

import functools
import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, cast, get_args, get_type_hints

import typer
from typer.models import OptionInfo

from projections.profile_key import HIGHEST_ID
from snapshot.files.disk import LocalDisk
from snapshot.kafka.settings import KafkaSettings
from snapshot.runtime.metrics import GaugeNames


def finite(value: float) -> float:
    """A callback of flags that give a number: `nan` is in every range, and `inf` never ends."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


@dataclass(frozen=True)
class DatabaseOptions:
    """WhiteBalloon's databases."""

    database_url: Annotated[
        str,
        typer.Option(envvar="DATABASE_URL", metavar="URL", help="WhiteBalloon's database.", rich_help_panel="Database"),
    ] = "sqlite:///data/app.db"
    insights_database_url: Annotated[
        str,
        typer.Option(
            envvar="INSIGHTS_DATABASE_URL",
            metavar="URL",
            help="The database of analyses.",
            rich_help_panel="Database",
        ),
    ] = "sqlite:///data/comment_llm_insights.db"


def folder(given: str | Path) -> Path:
    """A flag given an empty variable (`--output-dir "$DIR"`) does not mean the current folder."""
    if not str(given).strip():
        raise typer.BadParameter("is empty; write a path, such as . for the current folder")
    return Path(given)


def _file_mode(given: str) -> str:
    if not re.fullmatch(r"0?[67][0-7]{2}", given):
        raise typer.BadParameter(f"{given!r} is not an octal mode that lets the owner read and write, such as 640")
    return given


StorageDir = Annotated[
    Path,
    typer.Option(
        envvar="SNAPSHOT_STORAGE_DIR",
        parser=folder,
        metavar="PATH",
        help="Folder for signal_profiles/, the run log and, without REDIS_URL, a private Redis.",
        rich_help_panel="Files",
    ),
]
OutputDir = Annotated[
    Path | None,
    typer.Option(
        envvar="SNAPSHOT_OUTPUT_DIR",
        parser=folder,
        metavar="PATH",
        help="Folder for the profiles only.",
        show_default="signal_profiles in the storage folder",
        rich_help_panel="Files",
    ),
]


@dataclass(frozen=True)
class FileOptions:
    """Where profiles and all other files are kept, and of which group."""

    storage_dir: StorageDir = Path("storage")
    output_dir: OutputDir = None
    group_slug: Annotated[
        str | None,
        typer.Option(envvar="GROUP_SLUG", help="Write only this group's profiles.", rich_help_panel="Files"),
    ] = None
    file_mode: Annotated[
        str,
        typer.Option(
            envvar="SNAPSHOT_FILE_MODE",
            parser=_file_mode,
            metavar="OCTAL",
            help="Mode of new files; whoever may read them may enter new folders. The umask applies.",
            rich_help_panel="Files",
        ),
    ] = "640"

    folder_days: Annotated[
        float,
        typer.Option(
            envvar="SNAPSHOT_FOLDER_DAYS",
            min=1.0,
            callback=finite,
            help="Days until a folder that nobody flushes any more is dropped from the store; it returns as a new one.",
            rich_help_panel="Files",
        ),
    ] = 90.0

    @property
    def profiles(self) -> Path:
        """The folder for the profiles."""
        return self.output_dir or self.storage_dir / "signal_profiles"

    @property
    def disk(self) -> LocalDisk:
        """The disk, with the mode of new files."""
        return LocalDisk(int(self.file_mode, 8))


_DEBOUNCE = 0.5
RedisUrl = Annotated[
    str | None,
    typer.Option(
        envvar="REDIS_URL",
        metavar="URL",
        help="Redis 7 or newer with maxmemory-policy noeviction.",
        show_default="a private one in the storage folder",
        rich_help_panel="Store",
    ),
]


@dataclass(frozen=True)
class StoreOptions:
    """Where projections are kept."""

    redis_url: RedisUrl = None
    debounce: Annotated[
        float,
        typer.Option(
            envvar="SNAPSHOT_DEBOUNCE",
            min=0.0,
            max=3600.0,
            callback=finite,
            help="Seconds from a profile's first change to its flush.",
            rich_help_panel="Store",
        ),
    ] = _DEBOUNCE

    def of_a_run(self) -> "StoreOptions":
        """The same for a run that ends, which would wait for a longer debounce of the daemon's."""
        return replace(self, debounce=min(self.debounce, _DEBOUNCE))


@dataclass(frozen=True)
class MetricOptions:
    """Where metrics are sent."""

    statsd_host: Annotated[
        str | None,
        typer.Option(envvar="STATSD_HOST", help="StatsD server that metrics are sent to.", rich_help_panel="Metrics"),
    ] = None
    statsd_port: Annotated[
        int,
        typer.Option(
            envvar="STATSD_PORT", min=1, max=65535, help="Port of the StatsD server.", rich_help_panel="Metrics"
        ),
    ] = 8125


def _gauge_names(given: str) -> str:
    if given not in get_args(GaugeNames):
        raise typer.BadParameter(f"{given!r} is none of {', '.join(get_args(GaugeNames))}")
    return given


@dataclass(frozen=True)
class LastingMetricOptions(MetricOptions):
    """Where metrics are sent by a process that runs all the time, and how its gauges are kept apart from another's."""

    statsd_gauges: Annotated[
        str,
        typer.Option(
            envvar="STATSD_GAUGES",
            parser=_gauge_names,
            metavar="shared|suffix|tags",
            help="Gauges by plain names, with .HOST-PID behind them, or with a DogStatsD tag process:HOST-PID.",
            rich_help_panel="Metrics",
        ),
    ] = "shared"

    @property
    def gauges(self) -> GaugeNames:
        """The same, as it is used."""
        return cast("GaugeNames", self.statsd_gauges)


@dataclass(frozen=True)
class NightlyOptions:
    """The daemon's own nightly reconcile."""

    profile_signal_glaze: Annotated[
        bool,
        typer.Option(
            envvar="PROFILE_SIGNAL_GLAZE",
            help="Run snapshot-rebuild every night, in one of the daemons.",
            rich_help_panel="Schedule",
        ),
    ] = False
    schedule: Annotated[
        str,
        typer.Option(envvar="SNAPSHOT_SCHEDULE", help="When to run it: a cron expression.", rich_help_panel="Schedule"),
    ] = "5 4 * * *"


def _kafka(name: str, text: str) -> Any:  # noqa: ANN401 - what typer.Option gives
    flag = f"--kafka-{name.replace('_', '-')}"
    return typer.Option(flag, envvar=f"KAFKA_{name.upper()}", help=text, rich_help_panel="Kafka")


_Text = str | None


@dataclass(frozen=True)
class KafkaOptions:
    """Kafka, if there is one."""

    bootstrap_servers: Annotated[
        _Text, _kafka("bootstrap_servers", "host:port, several separated by commas; without it no broker is used.")
    ] = None
    security_protocol: Annotated[_Text, _kafka("security_protocol", "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.")] = (
        None
    )
    sasl_mechanism: Annotated[_Text, _kafka("sasl_mechanism", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.")] = None
    sasl_username: Annotated[_Text, _kafka("sasl_username", "SASL user name.")] = None
    sasl_password: Annotated[
        _Text, _kafka("sasl_password", "SASL password; the environment variable is safer than the flag.")
    ] = None
    ssl_cafile: Annotated[
        _Text, _kafka("ssl_cafile", "File with the certificate authority that signed the broker's certificate.")
    ] = None
    ssl_certfile: Annotated[_Text, _kafka("ssl_certfile", "File with the client's certificate.")] = None
    ssl_keyfile: Annotated[_Text, _kafka("ssl_keyfile", "File with the client's private key.")] = None
    ssl_password: Annotated[_Text, _kafka("ssl_password", "Password of the private key.")] = None
    ssl_check_hostname: Annotated[
        _Text, _kafka("ssl_check_hostname", "Whether the broker's certificate must name its host: true or false.")
    ] = None

    client: Annotated[
        _Text, _kafka("client", "kafka-python or librdkafka; without it the latter, where it is installed.")
    ] = None

    @property
    def settings(self) -> KafkaSettings | None:
        """What is set, checked; None without a broker. Raises OperatorError for invalid values."""
        given = {f"KAFKA_{field.name.upper()}": getattr(self, field.name) or "" for field in fields(self)}
        return KafkaSettings.from_environment(given)


_ONE_USER = typer.Option("--user", min=1, max=HIGHEST_ID, metavar="ID", help="Only this user; may be repeated.")


@dataclass(frozen=True)
class RunOptions:
    """What a run that ends does: whose profiles, and what it may change."""

    user: Annotated[list[int] | None, _ONE_USER] = None
    everybody: Annotated[bool, typer.Option("--all", help="All users.")] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the result without changing anything.")] = False
    prune_all: Annotated[
        bool, typer.Option("--prune-all", help="Proceed although more than 10 % would be removed.")
    ] = False
    workers: Annotated[
        int | None,
        typer.Option(
            envvar="SNAPSHOT_WORKERS",
            min=1,
            max=64,
            help="Number of processes.",
            show_default="one a core, at most four, within 512 MB",
        ),
    ] = None

    @property
    def users(self) -> frozenset[int] | None:
        """The users that are asked for; None: all. Raises BadParameter unless either is given."""
        if bool(self.user) == self.everybody:
            raise typer.BadParameter("give either --all or --user ID")
        return frozenset(self.user) if self.user else None


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command a flag for each field of the option groups (dataclasses) among its parameters."""
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[Any, list[str]]] = {}
    for parameter in inspect.signature(command).parameters.values():
        group = hints[parameter.name]
        if not hasattr(group, "__dataclass_fields__"):
            parameters.append(parameter.replace(annotation=_shown(group), kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        own = get_type_hints(group, include_extras=True)
        names = [f"{parameter.name}_{field.name}" for field in fields(group)]
        groups[parameter.name] = (group, names)
        parameters += [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=_shown(_named(field.name, own[field.name])),
            )
            for name, field in zip(names, fields(group), strict=True)
        ]

    @functools.wraps(command)
    def run(**given: Any) -> None:  # noqa: ANN401 - whatever the flags give
        for name, (group, names) in groups.items():
            own_fields = [field.name for field in fields(group)]
            given[name] = group(**{own: given.pop(flag) for own, flag in zip(own_fields, names, strict=True)})
        command(**given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _named(field: str, annotation: Any) -> Any:  # noqa: ANN401 - annotations are of any type
    """Name the flag after the field where the option does not name it itself."""
    (option,) = annotation.__metadata__
    if not option.param_decls and not isinstance(option.default, str):
        option.param_decls = (f"--{field.replace('_', '-')}",)
    return annotation


_METAVARS = {bool: "", str: "TEXT", int: "N", float: "NUMBER"}


def _shown(annotation: Any) -> Any:  # noqa: ANN401 - annotations are of any type
    """Show in the help what is to be written, where the option does not say it itself; typer writes `<str>`."""
    option = getattr(annotation, "__metadata__", (None,))[0]
    if isinstance(option, OptionInfo) and option.metavar is None:
        kinds = get_args(annotation.__origin__) or (annotation.__origin__,)
        option.metavar = next((_METAVARS[kind] for kind in kinds if kind in _METAVARS), None)
    return annotation


def environment_of(*groups: Any) -> dict[str, str]:  # noqa: ANN401 - option groups
    """The environment that gives another command of ours the same options; what has no variable is left out."""
    environment: dict[str, str] = {}
    for group in groups:
        hints = get_type_hints(type(group), include_extras=True)
        for field in fields(group):
            variable = hints[field.name].__metadata__[0].envvar
            value = getattr(group, field.name)
            if variable is not None and value is not None:
                environment[variable] = str(value)
    return environment

"""How every command logs: lines that a person reads on a terminal, JSON lines for everything else.

All go to standard error, with times in UTC; what libraries log goes the same way. A command configures this once, in
its entry point; nothing here runs at import.
"""

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import Processor

from projections.comments.rows import InvalidRowError
from projections.errors import OperatorError
from projections.masking import mask_urls

log = structlog.get_logger()

Form = Literal["auto", "console", "json"]

_FORMS: tuple[Form, ...] = ("auto", "console", "json")
_LEVELS = ("debug", "info", "warning", "error")
_SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
)
_FIRST = ("timestamp", "level", "event")


def configure(stream: TextIO, form: Form = "auto", level: str = "info", *, libraries: bool = True) -> None:
    """Send all log lines to a stream; `auto` is `console` on a terminal and `json` anywhere else.

    `level`: the least that is shown of this program: debug, info, warning, error. `libraries`: what they log from
    warning on is sent there too; leave it out where the calling program has configured logging itself.
    """
    console = stream.isatty() if form == "auto" else form == "console"
    rendering = _rendering(stream, console=console)
    least = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*_SHARED, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,  # loggers are made at import, before anything is configured
    )
    if libraries:
        _adopt(stream, rendering)


def configure_from(environment: Mapping[str, str], stream: TextIO) -> None:
    """Do the same by SNAPSHOT_LOG_FORMAT and SNAPSHOT_LOG_LEVEL. Raises OperatorError for an unknown value."""
    form = environment.get("SNAPSHOT_LOG_FORMAT", "").strip().lower() or "auto"
    level = environment.get("SNAPSHOT_LOG_LEVEL", "").strip().lower() or "info"
    known: Form | None = next((one for one in _FORMS if one == form), None)
    if known is None:
        raise OperatorError(f"SNAPSHOT_LOG_FORMAT={form} is not one of {', '.join(_FORMS)}")
    if level not in _LEVELS:
        raise OperatorError(f"SNAPSHOT_LOG_LEVEL={level} is not one of {', '.join(_LEVELS)}")
    configure(stream, known, level)


def warn_invalid_row(error: InvalidRowError) -> None:
    """Warn of a row that is left out; the error names it, and the fix.

    In a program of others, which calls `snapshot.direct`, through `logging`: structlog, which nobody configured there,
    would write into standard output.
    """
    if structlog.is_configured():
        log.warning("invalid row", reason=str(error))
    else:
        logging.getLogger("snapshot").warning("invalid row: %s", error)


def _rendering(stream: TextIO, *, console: bool) -> list[Processor]:
    text: list[Processor] = [structlog.processors.format_exc_info, _masked]
    if console:
        plain = structlog.dev.plain_traceback
        return [*text, structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain)]
    return [
        *text,
        _in_order,
        structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
    ]


def _masked(_logger: object, _name: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide passwords in URLs: an error of a library may quote the URL that it was given."""
    for name, value in entry.items():
        if isinstance(value, str) and "://" in value:
            entry[name] = mask_urls(value)
    return entry


def _in_order(_logger: object, _name: str, entry: MutableMapping[str, Any]) -> dict[str, Any]:
    """Put time, level and event first, then the rest by name: the same facts always give the same line."""
    first = {name: entry[name] for name in _FIRST if name in entry}
    return first | {name: entry[name] for name in sorted(entry) if name not in first}


def _adopt(stream: TextIO, rendering: list[Processor]) -> None:
    """Format what libraries log through the standard library in the same way."""
    meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler = logging.StreamHandler(stream)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[meta, *rendering], foreign_pre_chain=_SHARED))
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one.formatter, structlog.stdlib.ProcessorFormatter)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)

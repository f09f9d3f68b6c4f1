"""`snapshot-admin check`: connect to everything, say which version it is, and what is missing, with the fix."""

import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import typer

from projections.errors import DatabaseUnavailableError, OperatorError
from projections.masking import mask
from projections.projection import RULES_VERSION
from projections.store.protocol import StoreUnavailableError
from projections.store.redis.embedded import server_binary
from snapshot.cli.options import DatabaseOptions, KafkaOptions
from snapshot.cli.read_only import Json, PlaceOptions, open_existing_store
from snapshot.files.marker import find_marker
from snapshot.kafka.settings import KafkaSettings
from snapshot.runtime.terminal import Printer, show

MISSING = 1
_SECONDS = 5.0
_UNREACHABLE = (OperatorError, DatabaseUnavailableError, StoreUnavailableError)


class Checked(msgspec.Struct, frozen=True):
    """One thing that was looked at; `said` is its version and state, or what is wrong and how to fix it."""

    what: str
    ok: bool
    said: str


def check_command(
    database: DatabaseOptions,
    place: PlaceOptions,
    kafka: KafkaOptions,
    as_json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Connect to everything that is set, say its version, and what is missing with the fix; change nothing.

    Example: snapshot-admin check

    Exit codes: 0 all is there, 1 something is missing or wrong, 2 could not run.
    """
    checks: list[tuple[str, Callable[[], str]]] = [
        ("this program", _program),
        ("storage folder", lambda: _writable(place.storage_dir)),
        ("profiles", lambda: _profiles(place)),
        ("store", lambda: _store(place)),
        ("database", lambda: _database(place, database)),
    ]
    if (settings := kafka.settings) is not None:
        checks.append(("Kafka", lambda: _kafka(settings)))
    found = list(_run(checks))
    show(found, lambda out: _print(out, found), as_json=as_json)
    if not all(one.ok for one in found):
        raise typer.Exit(MISSING)


def _run(checks: list[tuple[str, Callable[[], str]]]) -> Iterator[Checked]:
    for what, ask in checks:
        try:
            yield Checked(what, ok=True, said=ask())
        except _UNREACHABLE as error:
            yield Checked(what, ok=False, said=str(error))
        except OSError as error:
            said = f"{error.filename} can't be looked at ({error.strerror}): let this user enter the folder it lies in"
            yield Checked(what, ok=False, said=said)


def _print(out: Printer, found: list[Checked]) -> None:
    out.table(
        ["", "", "~found"],
        [("ok" if one.ok else "MISSING", one.what, one.said) for one in found],
        ["green" if one.ok else "red" for one in found],
    )


def _program() -> str:
    version = importlib.metadata.version("signal-identity-snapshotter")
    return f"signal-identity-snapshotter {version}, rules {RULES_VERSION}, Python {platform.python_version()}"


def _writable(folder: Path) -> str:
    parent = next((one for one in (folder, *folder.absolute().parents) if one.exists()), folder)
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        raise OperatorError(f"{folder} can't be written: make {parent} a folder of this user's, or set another one")
    return f"{folder.absolute()}{'' if folder.is_dir() else ', which the first run makes'}"


def _profiles(place: PlaceOptions) -> str:
    folder = place.files.profiles
    where = _writable(folder)
    if (identity := find_marker(folder)) is None:
        return where if not folder.is_dir() else f"{where}, without a marker yet"
    return f"{where}, {'all groups' if identity.group_slug is None else f'the group {identity.group_slug}'}"


def _store(place: PlaceOptions) -> str:
    if place.redis_url is None and not (place.storage_dir / "redis").is_dir():
        return f"a private one, which the first run makes with {server_binary()}"
    with open_existing_store(place) as store:
        known = {state.rules_version for state in store.bucket_states() if state is not None}
        where = mask(place.redis_url) if place.redis_url else f"a private one in {place.storage_dir / 'redis'}"
        older = "" if known <= {RULES_VERSION} else "; counted by other rules: the next start counts it again"
        return f"{store.server()}, {where}, {'empty' if not known else 'in use'}{older}"


def _database(place: PlaceOptions, options: DatabaseOptions) -> str:
    from projections.database.connection import open_reader  # noqa: PLC0415 - the same
    from projections.database.database import open_databases  # noqa: PLC0415 - SQLAlchemy takes long to import
    from projections.remembered.analyses_seen import SeenAnywhere  # noqa: PLC0415 - the same
    from snapshot.files.marker import SeenInMarker  # noqa: PLC0415 - the same

    seen = SeenAnywhere(SeenInMarker(place.files.profiles), read_only=True)
    urls = options.database_url, options.insights_database_url
    with open_databases(*urls, seen=seen) as database, closing(open_reader(urls[0], "DATABASE_URL", _SECONDS)) as main:
        heads, groups = database.heads(), database.groups()
        unmatched = len(groups.unmatched())
        nowhere = f"; {unmatched} memberships match no request: see `snapshot-admin groups`" if unmatched else ""
        analyses = "" if heads.analysis_comment_id else "; no analyses yet, so no tags"
        return (
            f"{main.server()}, {mask(options.database_url)}, {len(groups.members):,} users in groups, "
            f"highest comment {heads.comment_id:,}{analyses}{nowhere}"
        )


def _kafka(settings: KafkaSettings) -> str:
    from consumer.kafka.topics import configurations, required  # noqa: PLC0415 - Kafka's client takes long to import

    present = configurations(settings)
    missing = [topic.name for topic in required() if topic.name not in present]
    if missing:
        raise OperatorError(f"topics are missing ({', '.join(missing)}): create them with `snapshot-admin topics`")
    return (
        f"{settings.bootstrap_servers} with all {len(present)} topics; `snapshot-admin topics` compares their settings"
    )

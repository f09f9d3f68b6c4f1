"""Opening what a rebuild needs, once in the command and once in each of its worker processes."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec

from projections.database import HIGHEST_ID, Database, open_databases
from projections.errors import OperatorError
from projections.memory_store import MemoryStore
from projections.projection import Projection
from projections.store import Folder, Store
from snapshot.flusher import Flusher
from snapshot.folder import MARKER, ProfileFolder, open_folder
from snapshot.kafka_settings import KafkaSettings
from snapshot.metrics import NoMetrics
from snapshot.opening import open_announcer, open_store
from snapshot.options import DatabaseOptions, FileOptions, StoreOptions
from snapshot.reconcile import Scope
from snapshot.work import Output, Work

_NAMED = 20
_DEBOUNCE = 0.5
"""Seconds: nobody waits longer for what a rebuild changed."""


class Settings(NamedTuple):
    """What a rebuild runs on; see `snapshot.options`."""

    database: DatabaseOptions
    files: FileOptions
    store: StoreOptions
    kafka: KafkaSettings | None
    deep: bool
    dry_run: bool


@contextmanager
def open_work(settings: Settings) -> Iterator[Work]:
    """Open both databases, the store and the folder. A dry run makes none of them that isn't there.

    Raises OperatorError for whatever is in the way.
    """
    with ExitStack() as stack:
        database = stack.enter_context(
            open_databases(settings.database.database_url, settings.database.insights_database_url)
        )
        projection = Projection(_store(settings, stack))
        refuse_unknown_group(database, projection.store, settings.files.group_slug)  # before a folder is made for it
        output = _looked_at(settings.files) if settings.dry_run else _output(settings, projection, stack)
        if output is not None:
            stack.callback(output.folder.close)
        yield Work(projection, database, Scope(settings.files.group_slug, settings.deep), output)


def refuse_unknown_group(database: Database, store: Store, slug: str | None) -> None:
    """Raise OperatorError for a group that has neither members nor profiles."""
    if slug is None:
        return
    known = sorted({each for mine in database.groups().members.values() for each in mine})
    if slug in known or any(key.group_slug == slug for key in store.profiles(0, HIGHEST_ID)):
        return
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    raise OperatorError(f"there is no group {slug!r}; the groups are: {', '.join(known[:_NAMED]) or 'none'}{more}")


def _store(settings: Settings, stack: ExitStack) -> Store:
    options = replace(settings.store, debounce=min(settings.store.debounce, _DEBOUNCE))
    if settings.dry_run and options.redis_url is None and not (settings.files.storage_dir / "redis").exists():
        return MemoryStore(lambda: 0)
    return stack.enter_context(open_store(options, settings.files)).store


def _output(settings: Settings, projection: Projection, stack: ExitStack) -> Output:
    folder = open_folder(settings.files.profiles, settings.files.group_slug)
    announcer = stack.enter_context(open_announcer(settings.kafka, settings.files))
    return Output(folder, Flusher(projection, folder, announcer, NoMetrics()))


def _looked_at(files: FileOptions) -> Output | None:
    """The folder as it is, only to be read; None where it was never written to, or is another group's."""
    place = files.profiles / MARKER
    if not place.exists():
        return None
    folder = read_marker(place)
    if folder.group_slug not in (None, files.group_slug):
        return None
    return Output(ProfileFolder(files.profiles, folder), None)


class _Marker(msgspec.Struct):
    id: str
    group_slug: str | None


def read_marker(place: Path) -> Folder:
    """Read which folder this is, and its scope."""
    try:
        marker = msgspec.json.decode(place.read_bytes(), type=_Marker)
    except (OSError, msgspec.DecodeError) as error:
        raise OperatorError(
            f"the marker {place} can't be read ({error}); remove it, and the next run makes it anew"
        ) from error
    return Folder(marker.id, marker.group_slug)

"""`snapshot-admin diff`: one profile by the store, by its file and by the database, field by field."""

from collections.abc import Mapping
from contextlib import suppress
from itertools import chain
from typing import Any

import msgspec
import typer

from projections.comments.groups import Groups
from projections.database.protocol import Database, analyses_of
from projections.profiles.bulk import Census
from projections.profiles.head import Head
from snapshot.build import build
from snapshot.cli.options import DatabaseOptions
from snapshot.cli.read_only import (
    Group,
    Json,
    PlaceOptions,
    User,
    open_database,
    open_existing_folder,
    open_existing_store,
    profile_of,
    read_profile,
    stored_slugs,
)
from snapshot.files.folder import ProfileFolder
from snapshot.reconcile.reconcile import Part, rows_of
from snapshot.runtime.logs import warn_invalid_row
from snapshot.runtime.terminal import Printer, show
from snapshot.schema import flat

DIFFERS = 1


class Field(msgspec.Struct, frozen=True):
    """One field; null where a side does not have it."""

    field: str
    store: str | None
    file: str | None
    database: str | None
    differs: bool


class Sides(msgspec.Struct, frozen=True):
    """All fields of one profile. `due`: its file is still to be flushed; null: this folder is for another group."""

    user_id: int
    group_slug: str
    due: bool | None
    fields: list[Field]


def diff_command(
    user: User,
    database: DatabaseOptions,
    place: PlaceOptions,
    group_slug: Group = None,
    as_json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Compare what the store, the file and the database say of a profile, field by field.

    Example: snapshot-admin diff 101 --group-slug elm-street

    Exit codes: 0 all say the same, 1 they differ (lag, or drift: `snapshot-rebuild --user` repairs it),
    2 could not run.
    """
    with (
        open_existing_store(place) as store,
        open_existing_folder(place) as folder,
        open_database(database, place, store) as rows,
    ):
        groups = rows.groups()
        key = profile_of(user, group_slug, list(groups.members.get(user, ())), stored_slugs(store, user))
        covered = folder.identity.group_slug in {None, key.group_slug}
        due = store.pending(folder.identity.id, [key])[0] if covered else None
        by_file = _file(folder, folder.name(key)) if covered else {}
        by_store = build(key, read_profile(store, key).head)
        by_rows = build(key, _head(rows, groups.only(key.group_slug), user))
    sides = [None if one is None else one.to_dict() for one in (by_store, by_rows)]
    found = Sides(*key, due, _fields(flat(sides[0]), flat(by_file) if covered else None, flat(sides[1])))
    show(found, lambda out: _print(out, found), as_json=as_json)
    if any(one.differs for one in found.fields):
        raise typer.Exit(DIFFERS)


def _head(rows: Database, groups: Groups, user_id: int) -> Head | None:
    """What the user's rows give, in this one group."""
    census = Census(groups, warn_invalid_row)
    pages = (census.page(page, analyses_of(rows, page)) for page in rows_of(rows, Part(user_id, user_id)))
    heads = [*chain.from_iterable(pages), *census.rest()]
    return heads[0][1] if heads else None


def _file(folder: ProfileFolder, name: str) -> Mapping[str, Any]:
    """The file's fields; one that is no snapshot of anybody has one that says so."""
    if (snapshot := folder.owned(name)) is not None:
        return snapshot.to_dict()
    with suppress(FileNotFoundError):
        folder.disk.read(f"{folder.path}/{name}")
        return {"": "no snapshot of this profile"}
    return {}


def _fields(store: Mapping[str, str], file: Mapping[str, str] | None, database: Mapping[str, str]) -> list[Field]:
    found = []
    for name in dict.fromkeys([*database, *store, *(file or ())]):
        said = [side.get(name) for side in (store, database if file is None else file, database)]
        found.append(Field(name, said[0], None if file is None else said[1], said[2], len({*said}) > 1))
    return found


def _print(out: Printer, found: Sides) -> None:
    differing = sum(one.differs for one in found.fields)
    state = {True: "; its file is due to be flushed", False: "", None: "; the folder is for another group"}[found.due]
    verdict = f"{differing} of {len(found.fields)} fields differ" if differing else "store, file and database agree"
    out.line(f"user {found.user_id} in {found.group_slug}: {verdict}{state}", "bold red" if differing else "bold")
    out.table(
        ["", "~field", "~store", "~file", "~database"],
        [("≠" if one.differs else "", one.field, one.store, one.file, one.database) for one in found.fields],
        ["red" if one.differs else None for one in found.fields],
    )

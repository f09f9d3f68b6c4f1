"""One profile by the store, by its file and by the database, field by field."""

from collections.abc import Mapping
from contextlib import suppress
from itertools import chain
from typing import Any

import msgspec

from projections.comments.groups import Groups
from projections.database.protocol import Database, analyses_of
from projections.profile_key import ProfileKey
from projections.profiles.bulk import Census
from projections.profiles.head import Head
from projections.store.protocol import Store
from snapshot.build import build
from snapshot.cli.read_only import read_profile
from snapshot.files.folder import ProfileFolder
from snapshot.reconcile.reconcile import Part, rows_of
from snapshot.runtime.logs import warn_invalid_row
from snapshot.schema import flat


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


def compare(store: Store, folder: ProfileFolder, rows: Database, groups: Groups, key: ProfileKey) -> Sides:
    """Put the three side by side. Raises OperatorError where the profile in the store is damaged."""
    covered = folder.identity.group_slug in {None, key.group_slug}
    due = store.pending(folder.identity.id, [key])[0] if covered else None
    by_file = _file(folder, folder.name(key)) if covered else {}
    by_store = build(key, read_profile(store, key).head)
    by_rows = build(key, _head(rows, groups.only(key.group_slug), key.user_id))
    sides = [None if one is None else one.to_dict() for one in (by_store, by_rows)]
    return Sides(*key, due, _fields(flat(sides[0]), flat(by_file) if covered else None, flat(sides[1])))


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

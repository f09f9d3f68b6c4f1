"""`snapshot-admin diff`: one profile by the store, by its file and by the database, field by field."""

import typer

from consumer.views.sides import Sides, compare
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
)
from snapshot.runtime.terminal import Printer, show

DIFFERS = 1


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
        groups = rows.groups_of(user)
        key = profile_of(place, store, user, group_slug, groups.members.get(user, ()))
        found = compare(store, folder, rows, groups, key)
    show(found, lambda out: _print(out, found), as_json=as_json)
    if any(one.differs for one in found.fields):
        raise typer.Exit(DIFFERS)


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

"""`snapshot-admin wait`: until a comment is in the files of its profiles, so that a script reads what it wrote."""

import time
from typing import Annotated

import typer

from projections.codec import read_registers, register_field
from projections.comments.groups import Groups
from projections.comments.register import Register
from projections.comments.rows import CommentRow, InvalidRowError, register_halves
from projections.database.protocol import Database
from projections.errors import OperatorError
from projections.profile_key import HIGHEST_ID, ProfileKey
from projections.store.protocol import Store
from snapshot.cli.options import DatabaseOptions, finite
from snapshot.cli.read_only import (
    Json,
    PlaceOptions,
    damage_of,
    open_database,
    open_existing_folder,
    open_existing_store,
)
from snapshot.flush.failures import named
from snapshot.runtime.terminal import show

TIMED_OUT = 1
_PAUSE = 0.1


def wait_command(
    comment_id: Annotated[int, typer.Argument(min=1, max=HIGHEST_ID, metavar="COMMENT_ID", show_default=False)],
    database: DatabaseOptions,
    place: PlaceOptions,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.0, callback=finite, help="Seconds until it is given up.")
    ] = 30.0,
    as_json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Return when a comment, as the database has it now, is in its profiles' files, or deleted from them.

    Example: snapshot-admin wait 4711 --timeout 10

    Exit codes: 0 it is, or it counts in no profile of this folder; 1 not in time; 2 could not run.
    """
    with (
        open_existing_store(place) as store,
        open_existing_folder(place) as folder,
        open_database(database, place, store) as rows,
    ):
        expected = _expected(rows, comment_id, folder.identity.group_slug)
        deadline = time.monotonic() + timeout
        while (missing := _missing(store, folder.identity.id, comment_id, expected)) and time.monotonic() < deadline:
            time.sleep(_PAUSE)
    profiles = [named(key) for key in expected]
    text = f"comment {comment_id} is in {', '.join(profiles) or 'no profile of this folder'}"
    if missing:
        text = f"comment {comment_id} is not in the files after {timeout:g} s: {'; '.join(missing)}"
    found = {"comment_id": comment_id, "profiles": profiles, "missing": missing}
    show(found, lambda out: out.line(text, "red" if missing else None), as_json=as_json)
    if missing:
        raise typer.Exit(TIMED_OUT)


def _expected(database: Database, comment_id: int, scope: str | None) -> dict[ProfileKey, Register]:
    """The register that each of the comment's profiles has to have."""
    rows = database.comments_by_ids([comment_id])
    if not rows:
        raise OperatorError(f"the database has no comment {comment_id}: commit it before waiting for it")
    return _registers(rows[0], database, database.groups_of(rows[0].user_id).only(scope))


def _registers(row: CommentRow, database: Database, groups: Groups) -> dict[ProfileKey, Register]:
    def refuse(error: InvalidRowError) -> None:
        raise OperatorError(str(error))

    analyses = database.analyses_by_ids([row.comment_id])
    return {
        ProfileKey(row.user_id, slug): Register(0, half, 0, labels)
        for _, slugs, half, labels in register_halves([row], analyses, groups, refuse)
        for slug in slugs
    }


def _missing(store: Store, folder: str, comment_id: int, expected: dict[ProfileKey, Register]) -> list[str]:
    """Say what is not there yet. The store is asked first: what it has is due from the same moment on."""
    found = []
    loaded = store.load(dict.fromkeys(expected, (register_field(comment_id),)))
    due = store.pending(folder, list(expected))
    for (key, register), pending in zip(expected.items(), due, strict=True):
        with damage_of(key):
            stored = read_registers(loaded[key].fields.items()).get(comment_id, Register())
        if (stored.comment, stored.labels) != (register.comment, register.labels):
            found.append(f"{named(key)} does not have it yet in the store")
        elif pending:
            found.append(f"{named(key)} is due to be flushed")
    return found

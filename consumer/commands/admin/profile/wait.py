"""`snapshot-admin wait`: until a comment is in the files of its profiles, so that a script reads what it wrote."""

import time
from typing import Annotated

import typer

from projections.codec import read_registers, register_field
from projections.comments.groups import Groups
from projections.comments.register import Register, counts
from projections.comments.rows import CommentRow, InvalidRowError, register_halves
from projections.database.protocol import Database
from projections.errors import OperatorError
from projections.profile_key import HIGHEST_ID, ProfileKey
from projections.store.protocol import Store
from snapshot.cli.options import DatabaseOptions, finite
from snapshot.cli.read_only import (
    Json,
    PlaceOptions,
    block_of,
    damage_of,
    open_database,
    open_existing_folder,
    open_existing_store,
    read_snapshot,
)
from snapshot.files.folder import NO_FILE, ProfileFolder, differs
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
        row = _row(rows, comment_id)
        expected = _registers(row, rows, rows.groups_of(row.user_id).only(folder.identity.group_slug))
        deadline = time.monotonic() + timeout
        while (missing := _missing(store, folder, comment_id, expected)) and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        block = None if expected else block_of(place, store, row.user_id)
    profiles, counting = [named(key) for key in expected], any(map(counts, expected.values()))
    if missing:
        what = "is not in the files" if counting else "is deleted, and the files do not show that"
        text = f"comment {comment_id} {what} after {timeout:g} s: {'; '.join(missing)}"
    elif profiles:
        what = "is in" if counting else "is deleted, and no longer counts in"
        text = f"comment {comment_id} {what} {', '.join(profiles)}"
    else:
        text = f"comment {comment_id} is in no profile of this folder{f': {block}' if block else ''}"
    found = {"comment_id": comment_id, "profiles": profiles, "missing": missing, "counts": counting, "block": block}
    show(found, lambda out: out.line(text, "red" if missing else None), as_json=as_json)
    if missing:
        raise typer.Exit(TIMED_OUT)


def _row(database: Database, comment_id: int) -> CommentRow:
    rows = database.comments_by_ids([comment_id])
    if not rows:
        raise OperatorError(f"the database has no comment {comment_id}: commit it before waiting for it")
    return rows[0]


def _registers(row: CommentRow, database: Database, groups: Groups) -> dict[ProfileKey, Register]:
    """The register that each of the comment's profiles has to have."""

    def refuse(error: InvalidRowError) -> None:
        raise OperatorError(str(error))

    analyses = database.analyses_by_ids([row.comment_id])
    return {
        ProfileKey(row.user_id, slug): Register(0, half, 0, labels)
        for _, slugs, half, labels in register_halves([row], analyses, groups, refuse)
        for slug in slugs
    }


def _missing(store: Store, folder: ProfileFolder, comment_id: int, expected: dict[ProfileKey, Register]) -> list[str]:
    """Say what is not there yet. The store is asked first: what it has is due from the same moment on.

    Files are only read once nothing is due, which is no longer than a moment unless something is wrong.
    """
    found = []
    loaded = store.load(dict.fromkeys(expected, (register_field(comment_id),)))
    due = store.pending(folder.identity.id, list(expected))
    for (key, register), pending in zip(expected.items(), due, strict=True):
        with damage_of(key):
            stored = read_registers(loaded[key].fields.items()).get(comment_id, Register())
        if (stored.comment, stored.labels) != (register.comment, register.labels):
            found.append(f"{named(key)} does not have it yet in the store")
        elif pending:
            found.append(f"{named(key)} is due to be flushed")
        elif differs(folder.hash_on_disk(key), _digest(store, key)):
            state = "is missing" if folder.lacks(key) else "differs"
            found.append(f"the file of {named(key)} {state}: fix it with `snapshot-rebuild --user {key.user_id}`")
    return found


def _digest(store: Store, key: ProfileKey) -> str:
    snapshot = read_snapshot(store, key)
    return NO_FILE if snapshot is None else snapshot.snapshot_hash

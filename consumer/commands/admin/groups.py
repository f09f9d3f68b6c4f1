"""`snapshot-admin groups`: which groups there are, their requests, members and profiles."""

from concurrent.futures import ThreadPoolExecutor

from consumer.views.group_summaries import GroupSummary, stored_counts, summaries
from snapshot.cli.options import DatabaseOptions
from snapshot.cli.read_only import Json, PlaceOptions, open_database, open_existing_store
from snapshot.runtime.terminal import Printer, show


def groups_command(
    database: DatabaseOptions,
    place: PlaceOptions,
    as_json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """List the groups: slug, name, requests, members by the database; profiles and comments that count by the store.

    Example: snapshot-admin groups
    """
    with open_existing_store(place) as store, ThreadPoolExecutor(1) as beside:
        stored = beside.submit(stored_counts, store)  # Redis reads while SQLAlchemy is imported
        with open_database(database, place, store) as rows:
            found = summaries(rows.groups(), stored.result())
    show(found, lambda out: _print(out, found), as_json=as_json)


def _print(out: Printer, found: list[GroupSummary]) -> None:
    out.table(
        ["group", "~name", "requests", ">members", ">profiles", ">comments"],
        [
            (
                one.slug,
                ", ".join(one.names),
                ", ".join(map(str, one.requests)) or "none",
                f"{one.members:,}",
                f"{one.profiles:,}",
                f"{one.comments:,}",
            )
            for one in found
        ],
        [None if one.requests else "yellow" for one in found],
    )
    if not all(one.requests for one in found):
        out.line("nothing counts where no request is titled `[Signal] NAME`", "yellow")

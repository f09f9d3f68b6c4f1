"""`snapshot-admin explain`: the comments that make up a number of a profile, and those that don't count, with why."""

from collections.abc import Callable
from typing import Annotated

import typer

from consumer.views.explanation import Answer, Comment, explain_number, question_of
from projections.comments.explain import Counted
from snapshot.cli.options import DatabaseOptions
from snapshot.cli.read_only import (
    Group,
    Json,
    PlaceOptions,
    User,
    open_database,
    open_existing_store,
    profile_of,
)
from snapshot.runtime.terminal import Printer, many, show

DIFFERS = 1
_SHOWN = 20


_Limit = Annotated[int, typer.Option("--limit", min=1, help="Comments to list of those that count, and of the rest.")]


def explain_command(  # noqa: PLR0913, PLR0917 - each is an argument, a flag, or a group of flags
    user: User,
    number: Annotated[Counted, typer.Argument(metavar="NUMBER", help="Which number.", show_default=False)],
    database: DatabaseOptions,
    place: PlaceOptions,
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="The link, tag, reaction, or kind of attachment; none for count.")
    ] = "",
    group_slug: Group = None,
    limit: _Limit = _SHOWN,
    as_json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Say why a number is what it is: the comments that make it up, and those that don't count, with the reason.

    Example: snapshot-admin explain 101 tag housing --group-slug elm-street

    Exit codes: 0 the store says the same number, 1 it says another one (lag, or drift), 2 could not run.
    """
    question = question_of(number, value)
    with open_existing_store(place) as opened, open_database(database, place, opened) as rows:
        groups = rows.groups_of(user)
        key = profile_of(place, opened, user, group_slug, groups.members.get(user, ()))
        answer = explain_number(opened, rows, groups, key, question)
    show(answer, lambda out: _print(out, answer, limit), as_json=as_json)
    if answer.counts != answer.stored:
        raise typer.Exit(DIFFERS)


def _print(out: Printer, answer: Answer, limit: int) -> None:
    counting = [one for one in answer.comments if one.times]
    total = f"{many(answer.counts, 'comment')} counted"
    if answer.value:
        total = f"{answer.number} {answer.value} counts {answer.counts:,}, in {many(len(counting), 'comment')}"
    out.line(f"user {answer.user_id} in {answer.group_slug}: {total}", "bold")
    if answer.stored != answer.counts:
        compare = f"snapshot-admin diff {answer.user_id} --group-slug {answer.group_slug}"
        out.line(f"the store says {answer.stored:,}: lag or drift, see `{compare}`", "red")
    if not answer.comments:
        out.line(f"no comment has to do with it; `snapshot-admin show {answer.user_id}` lists what counts most")
    _table(out, counting, limit, ">times", lambda one: one.times)
    if not_counting := [one for one in answer.comments if one.reasons]:
        out.line()
        out.line(f"does not count, or not more often, in {many(len(not_counting), 'comment')}", "bold")
        _table(out, not_counting, limit, "~why", lambda one: "; ".join(one.reasons))


def _table(out: Printer, comments: list[Comment], limit: int, name: str, cell: Callable[[Comment], object]) -> None:
    if comments:
        out.table(
            [">comment", "time (UTC)", ">request", name, "*excerpt"],
            [
                (one.comment_id, one.created_at[:19], one.help_request_id, cell(one), one.excerpt)
                for one in comments[:limit]
            ],
        )
    if len(comments) > limit:
        out.line(f"and {len(comments) - limit:,} more: --limit {len(comments)}, or --json, lists them", "dim")

"""`snapshot-admin explain`: the comments that make up a number of a profile, and those that don't count, with why."""

from collections.abc import Callable
from typing import Annotated

import msgspec
import typer

from consumer.commands.admin.profile.excerpt import excerpt
from projections.codec import link_field, tag_field, unpack_head, unpack_label
from projections.comments.body import KINDS, attachment_kind
from projections.comments.explain import Counted, ExplainedComment, Question, explain
from projections.comments.links import canonical, find
from projections.database.protocol import analyses_of
from projections.errors import OperatorError
from projections.profile_key import ProfileKey
from projections.profiles.head import Head
from projections.store.protocol import HEAD, Store
from snapshot.cli.options import DatabaseOptions
from snapshot.cli.read_only import (
    Group,
    Json,
    PlaceOptions,
    User,
    damage_of,
    open_database,
    open_existing_store,
    profile_of,
    stored_slugs,
)
from snapshot.reconcile.reconcile import Part, rows_of
from snapshot.runtime.terminal import Printer, show

DIFFERS = 1
_SHOWN = 20


class Comment(msgspec.Struct, frozen=True):
    """One comment: how many times it counts, and for what does not count why."""

    comment_id: int
    created_at: str
    help_request_id: int
    times: int
    reasons: tuple[str, ...]
    excerpt: str


class Answer(msgspec.Struct, frozen=True):
    """A number by the database's rows (`counts`) and by the store, and the comments that it is about."""

    user_id: int
    group_slug: str
    number: str
    value: str
    counts: int
    stored: int
    comments: list[Comment]


_Limit = Annotated[int, typer.Option("--limit", min=1, help="Comments to list of those that count, and of the rest.")]


def explain_command(  # noqa: PLR0913, PLR0917 - each is an argument, a flag, or a group of flags
    user: User,
    number: Annotated[Counted, typer.Argument(help="Which number.", show_default=False)],
    database: DatabaseOptions,
    place: PlaceOptions,
    value: Annotated[str, typer.Argument(help="The link, tag, reaction, or kind of attachment; none for count.")] = "",
    group_slug: Group = None,
    limit: _Limit = _SHOWN,
    as_json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Say why a number is what it is: the comments that make it up, and those that don't count, with the reason.

    Example: snapshot-admin explain 101 tag housing --group-slug elm-street

    Exit codes: 0 the store says the same number, 1 it says another one (lag, or drift), 2 could not run.
    """
    question = _question(number, value)
    with open_existing_store(place) as opened, open_database(database, place, opened) as rows:
        groups = rows.groups()
        key = profile_of(user, group_slug, list(groups.members.get(user, ())), stored_slugs(opened, user))
        with damage_of(key):
            stored = _stored(opened, key, question)
        found = [
            one
            for page in rows_of(rows, Part(user, user))
            for one in explain(page, analyses_of(rows, page), groups, key, question)
        ]
    total = sum(one.times for one in found)
    comments = [_comment(one, question) for one in found]
    answer = Answer(key.user_id, key.group_slug, number.value, question.value, total, stored, comments)
    show(answer, lambda out: _print(out, answer, limit), as_json=as_json)
    if total != stored:
        raise typer.Exit(DIFFERS)


def _question(number: Counted, value: str) -> Question:
    """What is asked for, the value in the form under which it is counted."""
    if bool(value) == (number is Counted.COUNT):
        raise OperatorError(f"{number.value} takes {'no' if value else 'a'} value: see snapshot-admin explain --help")
    if number is Counted.LINK:
        if not find(value):
            raise OperatorError(f"{value!r} is no link: write it with http:// or https://")
        return Question(number, canonical(find(value)[0]))
    if number is Counted.ATTACHMENT:
        return Question(number, value if value in KINDS else attachment_kind(value))
    return Question(number, value.strip())


def _stored(store: Store, key: ProfileKey, question: Question) -> int:
    """The same number as the store has it; it is exact even where a profile has to be recomputed."""
    record = {Counted.LINK: link_field, Counted.TAG: tag_field}.get(question.kind)
    names = [HEAD] if record is None else [record(question.value)]
    fields = store.load({key: names})[key].fields
    if record is not None:
        return unpack_label(fields[names[0]]).count if fields else 0
    head = unpack_head(fields[HEAD]) if fields else Head()
    numbers = {Counted.REACTION: head.reactions, Counted.ATTACHMENT: head.attachments}
    return numbers[question.kind].get(question.value, 0) if question.kind in numbers else head.count


def _comment(one: ExplainedComment, question: Question) -> Comment:
    row = one.row
    text = excerpt(str(row.body), "" if question.kind is Counted.TAG else question.value)
    return Comment(row.comment_id, str(row.created_at), row.help_request_id, one.times, one.reasons, text)


def _print(out: Printer, answer: Answer, limit: int) -> None:
    counting = [one for one in answer.comments if one.times]
    what = f"{answer.number} {answer.value}".rstrip()
    total = f"{what} counts {answer.counts:,}, in {len(counting):,} comments"
    out.line(f"user {answer.user_id} in {answer.group_slug}: {total}", "bold")
    if answer.stored != answer.counts:
        compare = f"snapshot-admin diff {answer.user_id} --group-slug {answer.group_slug}"
        out.line(f"the store says {answer.stored:,}: lag or drift, see `{compare}`", "red")
    if not answer.comments:
        out.line(f"no comment has to do with it; `snapshot-admin show {answer.user_id}` lists what counts most")
    _table(out, counting, limit, ">times", lambda one: one.times)
    if not_counting := [one for one in answer.comments if one.reasons]:
        out.line()
        out.line(f"does not count, or not more often, in {len(not_counting):,} comments", "bold")
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

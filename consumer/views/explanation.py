"""Why a number of a profile is what it is: by the database's rows, beside what the store says."""

import msgspec

from consumer.views.excerpt import excerpt
from projections.codec import link_field, tag_field, unpack_head, unpack_label
from projections.comments.body import KINDS, attachment_kind
from projections.comments.explain import Counted, ExplainedComment, Question, explain
from projections.comments.groups import Groups
from projections.comments.links import canonical, find
from projections.database.protocol import Database, analyses_of
from projections.errors import OperatorError
from projections.profile_key import ProfileKey
from projections.profiles.head import Head
from projections.store.protocol import HEAD, Store
from snapshot.cli.read_only import damage_of
from snapshot.reconcile.reconcile import Part, rows_of


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


def explain_number(store: Store, rows: Database, groups: Groups, key: ProfileKey, question: Question) -> Answer:
    """Find the comments of a number. Raises OperatorError where the profile is damaged."""
    with damage_of(key):
        stored = _stored(store, key, question)
    user = key.user_id
    found = [
        one
        for page in rows_of(rows, Part(user, user))
        for one in explain(page, analyses_of(rows, page), groups, key, question)
    ]
    total = sum(one.times for one in found)
    comments = [_comment(one, question) for one in found]
    return Answer(*key, question.kind.value, question.value, total, stored, comments)


def question_of(number: Counted, value: str) -> Question:
    """What is asked for, the value in the form under which it is counted."""
    if bool(value) == (number is Counted.COUNT):
        raise OperatorError(f"{number.value} takes {'no' if value else 'a'} value: see snapshot-admin explain --help")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # an argument's bytes; no database has such a text
        raise OperatorError(f"{value!r} is no UTF-8 text: write the value as the profile has it") from error
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

"""Why a number of a profile is what it is: the comments that make it up, and those that might be expected to. Pure.

What counts is asked of `register_halves`, as for every profile; only the reasons of the rest are worked out here.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from projections.comments import links
from projections.comments.body import BodyContent, read
from projections.comments.groups import Groups
from projections.comments.labels import labels as read_labels
from projections.comments.labels import list_column
from projections.comments.register import LIVE, CommentHalf
from projections.comments.rows import AnalysisRow, CommentRow, InvalidRowError, register_halves
from projections.profile_key import ProfileKey


class Counted(StrEnum):
    """What a profile counts."""

    LINK = "link"
    TAG = "tag"
    REACTION = "reaction"
    ATTACHMENT = "attachment"
    COUNT = "count"


class Question(NamedTuple):
    """Which number of a profile: a link in canonical form, a tag, a reaction's word, a kind of attachment.

    The value of COUNT is empty.
    """

    kind: Counted
    value: str = ""


class ExplainedComment(NamedTuple):
    """One comment: how many times the number counts it, and why it does not count it, or not more often."""

    row: CommentRow
    times: int
    reasons: tuple[str, ...]


_QUOTE_MARKS = re.compile(r"^>[> ]*", re.MULTILINE)
_VARIANTS = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")
"""What makes two emojis differ that look alike: presentation and skin."""
_LOOSE_LINK = re.compile(r"https?://(?:www\.)?([^?#]*?)/*(?:[?#].*)?", re.DOTALL)
_COLUMNS = ("resource_tags", "request_tags", "tags")


def explain(
    rows: Iterable[CommentRow],
    analyses: Mapping[int, AnalysisRow],
    groups: Groups,
    key: ProfileKey,
    question: Question,
) -> Iterator[ExplainedComment]:
    """Look at all comments of the profile's user; those that have nothing to do with the question are left out.

    The sum of `times` over all rows is the profile's number.
    """
    members = {key.user_id: groups.members.get(key.user_id, {})}
    mine = Groups(members, groups.requests).only(key.group_slug)  # those of everybody would be sorted each time
    for row in rows:
        invalid: list[InvalidRowError] = []
        times = 0
        for _, _, half, tags in register_halves([row], analyses, mine, invalid.append):
            times = _times(half, tags, question) if half.state == LIVE else 0
        reasons = _reasons(row, analyses.get(row.comment_id), question, _bar(row, groups, key, invalid))
        if times or reasons:
            yield ExplainedComment(row, times, tuple(reasons))


def _times(half: CommentHalf, tags: tuple[str, ...], question: Question) -> int:
    """How many times a comment that counts counts for this number."""
    if question.kind is Counted.COUNT:
        return 1
    return _in_analysis(tags, question) or _in_body(BodyContent(half.links, half.reactions, half.attachments), question)


def _in_analysis(tags: Iterable[str], question: Question) -> int:
    return int(question.kind is Counted.TAG and question.value in tags)


def _in_body(content: BodyContent, question: Question) -> int:
    if question.kind is Counted.LINK:
        return sum(times for url, _, times in content.links if url == question.value)
    items = {Counted.REACTION: content.reactions, Counted.ATTACHMENT: content.attachments}.get(question.kind, ())
    return dict(items).get(question.value, 0)


def _bar(row: CommentRow, groups: Groups, key: ProfileKey, invalid: list[InvalidRowError]) -> str | None:
    """Why nothing at all of a comment counts in this profile."""
    slugs = groups.slugs(row.user_id, row.help_request_id)
    if row.user_id in groups.blocked:
        return "the user was forgotten and is blocked"
    if key.group_slug not in slugs:
        other = f"another group: {', '.join(slugs)}" if slugs else "no group of the user's"
        return f"request {row.help_request_id} is of {other}"
    if invalid:
        return str(invalid[0])
    return None if row.deleted_at is None else f"deleted {str(row.deleted_at)[:19]}"


def _reasons(row: CommentRow, analysis: AnalysisRow | None, question: Question, bar: str | None) -> list[str]:
    if question.kind is Counted.COUNT:
        return [bar] if bar else []
    if question.kind is Counted.TAG:
        columns = ((), (), ()) if analysis is None else tuple(list_column(text) for text in analysis[1:4])
        times = _in_analysis(read_labels(*columns), question)
        return [bar] if bar and times else [] if bar or analysis is None else _of_tags(analysis, columns, question)
    body: object = row.body
    if not isinstance(body, str):
        return []
    if bar:
        return [bar] if _in_body(read(body), question) else []
    return _of_body(body, question)


def _of_tags(analysis: AnalysisRow, columns: tuple[tuple[str, ...], ...], question: Question) -> list[str]:
    every = [tag for column in columns for tag in column]
    reasons = _others(every, question.value, str.casefold, "tag")
    if every.count(question.value) > 1:
        reasons.append(f"named {every.count(question.value)} times by the analysis: a tag counts once a comment")
    reasons += [
        f"{name} is no list of labels: {text!r:.60}"
        for name, text, column in zip(_COLUMNS, analysis[1:4], columns, strict=True)
        if text and not column and question.value.casefold() in text.casefold()
    ]
    return reasons


def _of_body(body: str, question: Question) -> list[str]:
    plain, counted = _QUOTE_MARKS.sub("", body), read(body)
    with_quotes = read(plain)
    times = _in_body(counted, question)
    quoted = _in_body(with_quotes, question) - times
    reasons = [f"quoted{_often(quoted)}"] if quoted > 0 else []
    if question.kind is Counted.LINK:
        reasons += _of_links(plain, _in_body(with_quotes, question), question.value)
    elif question.kind is Counted.REACTION:
        reasons += _others([word for word, _ in counted.reactions], question.value, _loose_emoji, "reaction")
    if times or reasons:
        return reasons
    if question.kind is Counted.REACTION and question.value in body:
        return ["in the text, not as an entry's last word on a line `(Reactions: ...)` of its own"]
    if question.kind is Counted.ATTACHMENT and "[attachments:" in body.lower() and not with_quotes.attachments:
        return ["`[attachments: ...]` does not stand on a line of its own"]
    return []


def _of_links(plain: str, times: int, wanted: str) -> list[str]:
    """`plain` is the body without quotation marks, `times` how often it counts the link."""
    spelled = links.find(plain)
    forms = [links.canonical(url) for url in spelled]
    marked = forms.count(wanted) - times
    reasons = [f"in a line of reactions or attachments{_often(marked)}"] if marked > 0 else []
    reasons += _others(forms, wanted, _loose_link, "link")
    for url in spelled:
        plain = plain.replace(url, " ")
    if not reasons and not times and re.search(rf"(?<![\w.]){re.escape(_loose_link(wanted))}(?!\w)", plain.casefold()):
        reasons.append("the text names it without http:// or https://")
    return reasons


def _others(found: Iterable[str], wanted: str, loose: Callable[[str], str], what: str) -> list[str]:
    """What looks like the value and counts for itself."""
    like = loose(wanted)
    return [f"counts as another {what}: {one}" for one in dict.fromkeys(found) if one != wanted and loose(one) == like]


def _often(times: int) -> str:
    return f" ({times} times)" if times > 1 else ""


def _loose_link(url: str) -> str:
    """A link without what people often overlook: scheme, www., query, fragment, closing slashes, case.

    >>> _loose_link("https://www.Example.org/a/?b=c#d")
    'example.org/a'
    """
    found = _LOOSE_LINK.fullmatch(url)
    return (found[1] if found else url).casefold()


def _loose_emoji(word: str) -> str:
    return _VARIANTS.sub("", word).casefold()

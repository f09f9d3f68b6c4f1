"""The SELECTs that WhiteBalloon's databases are asked, built once. Keys are bound as 64-bit whole numbers."""

from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    BindParameter,
    ColumnElement,
    Select,
    Text,
    any_,
    bindparam,
    cast,
    func,
    select,
    text,
    type_coerce,
)

from projections.comments.groups import KEY_PREFIX, TITLE_PREFIX
from projections.whiteballoon import (
    comment_llm_analyses,
    comment_llm_runs,
    help_requests,
    request_comments,
    user_attributes,
)

Query = Select[Any]


def _key(name: str) -> BindParameter[int]:
    return bindparam(name, type_=BigInteger)


_comment = request_comments.c
_analysis = comment_llm_analyses.c
_attribute = user_attributes.c

# Not cast but read as text: neither driver spends time on dates, and none that is odd ends a page.
_COMMENTS: Query = select(
    _comment.id,
    _comment.user_id,
    _comment.help_request_id,
    _comment.body,
    type_coerce(_comment.created_at, Text).label("created_at"),
    type_coerce(_comment.deleted_at, Text).label("deleted_at"),
)
_ANALYSES: Query = select(
    _analysis.comment_id, _analysis.resource_tags, _analysis.request_tags, _analysis.tags, _analysis.recorded_at
)

COMMENTS_AFTER: Query = _COMMENTS.where(_comment.id > _key("after")).order_by(_comment.id).limit(_key("limit"))

# In two halves: as one, `(user_id, id) > (?, ?)`, SQLite would read a user's whole history again for every page of it.
COMMENTS_OF_USER: Query = (
    _COMMENTS.where(_comment.user_id == _key("user"), _comment.id > _key("after"))
    .order_by(_comment.id)
    .limit(_key("limit"))
)
COMMENTS_OF_USERS: Query = (
    _COMMENTS.where(_comment.user_id >= _key("first"), _comment.user_id <= _key("last"))
    .order_by(_comment.user_id, _comment.id)
    .limit(_key("limit"))
)
COMMENTS_BY_USER: Query = (
    select(_comment.user_id, func.count())
    .where(_comment.user_id > _key("after"))
    .group_by(_comment.user_id)
    .order_by(_comment.user_id)
    .limit(_key("limit"))
)

ANALYSES_AFTER: Query = (
    _ANALYSES.where(_analysis.comment_id > _key("after")).order_by(_analysis.comment_id).limit(_key("limit"))
)
ANALYSES_BETWEEN: Query = _ANALYSES.where(_analysis.comment_id.between(_key("low"), _key("high"))).order_by(
    _analysis.comment_id
)
ANALYSES_OF_RUN: Query = (
    _ANALYSES.where(_analysis.run_id == bindparam("run"), _analysis.comment_id > _key("after"))
    .order_by(_analysis.comment_id)
    .limit(_key("limit"))
)
RUNS: Query = select(comment_llm_runs).where(comment_llm_runs.c.run_id.is_not(None)).order_by(comment_llm_runs.c.run_id)

# substr, because LIKE takes `_` for any character and, in SQLite, ignores case.
_IS_MEMBERSHIP = func.substr(_attribute.key, 1, len(KEY_PREFIX)) == KEY_PREFIX
MEMBERSHIPS: Query = (
    select(_attribute.user_id, _attribute.key, cast(_attribute.value, Text))
    .where(_IS_MEMBERSHIP)
    .order_by(_attribute.id)
)
GROUP_REQUESTS: Query = select(help_requests.c.id, help_requests.c.title).where(
    func.substr(help_requests.c.title, 1, len(TITLE_PREFIX)) == TITLE_PREFIX
)
COMMENTING_USERS: Query = (
    select(_comment.user_id)
    .where(_comment.user_id > _key("after"))
    .distinct()
    .order_by(_comment.user_id)
    .limit(_key("limit"))
)
MEMBER_USERS: Query = (
    select(_attribute.user_id)
    .where(_attribute.user_id > _key("after"), _IS_MEMBERSHIP)
    .distinct()
    .order_by(_attribute.user_id)
    .limit(_key("limit"))
)

HIGHEST_COMMENT: Query = select(func.max(_comment.id))
HIGHEST_ANALYSIS: Query = select(func.max(_analysis.comment_id))

POSTGRES_CLOCK = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")

POSTGRES_HORIZON = text(
    "SELECT pg_snapshot_xmin(taken)::text::bigint, pg_snapshot_xmax(taken)::text::bigint "
    "FROM pg_current_snapshot() AS taken"
)


@cache
def comments_by_ids(dialect: str) -> Query:
    """Comments whose ids are in the parameter `ids`: a JSON array for SQLite, a list for PostgreSQL."""
    return _COMMENTS.where(_among(_comment.id, dialect)).order_by(_comment.id)


@cache
def analyses_by_ids(dialect: str) -> Query:
    """Analyses of the comments in the parameter `ids`, likewise."""
    return _ANALYSES.where(_among(_analysis.comment_id, dialect))


@cache
def latest_deleted(dialect: str) -> Query:
    """The comments that were deleted last."""
    return _latest(_COMMENTS, _comment.deleted_at, dialect)


@cache
def latest_analyses(dialect: str) -> Query:
    """The analyses that were recorded last."""
    return _latest(_ANALYSES, _analysis.recorded_at, dialect)


def _latest(query: Query, time: ColumnElement[Any], dialect: str) -> Query:
    """Find them by a range in SQLite, whose way through the index ends then where the nulls begin.

    PostgreSQL's does anyway, and there the column may be of any type.
    """
    has_one = time > text("''") if dialect == "sqlite" else time.is_not(None)
    return query.where(has_one).order_by(time.desc()).limit(_key("limit"))


def _among(column: ColumnElement[int], dialect: str) -> ColumnElement[bool]:
    """One parameter for any number of ids: SQLite limits parameters, and SQLAlchemy would render each list anew."""
    if dialect == "sqlite":
        return column.in_(select(func.json_each(bindparam("ids", type_=Text)).table_valued("value").c.value))
    return column == any_(bindparam("ids", type_=ARRAY(BigInteger)))


REQUIRED_MAIN: tuple[Query, ...] = (
    _COMMENTS,
    select(_attribute.id, _attribute.user_id, _attribute.key, _attribute.value),
    select(help_requests.c.id, help_requests.c.title),
)
REQUIRED_INSIGHTS: tuple[Query, ...] = (_ANALYSES.add_columns(_analysis.run_id), select(comment_llm_runs))
"""All that is ever read of each database."""

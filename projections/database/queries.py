"""The SELECTs on WhiteBalloon's databases, built once. Keys are bound as 64-bit whole numbers.

SQLite keeps any value in any column. A row with a value that no such column should hold is left out here, so it counts
nowhere, however it would be reached: an id that is no whole number from 1 up, a BLOB as a membership or in an analysis.
A comment's body and times are looked at later, where a warning can name the comment: see `projections.comments.rows`.
"""

from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    BindParameter,
    ColumnElement,
    Select,
    Text,
    and_,
    any_,
    bindparam,
    cast,
    func,
    select,
    text,
    type_coerce,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

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


class _Holds(FunctionElement[Any]):
    """Whether a column holds a value of these SQLite types and, where `lowest` is given, none below.

    The plus keeps SQLite from choosing an index for it.
    """

    type = NullType()  # as a Boolean it would be compared with 1
    inherit_cache = False

    def __init__(self, column: ColumnElement[Any], *types: str, lowest: int | None = None) -> None:
        self.types = types
        self.lowest = lowest
        super().__init__(column)


@compiles(_Holds)
def _by_lowest(element: _Holds, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    """Elsewhere than in SQLite a column holds its own type only."""
    return "true" if element.lowest is None else f"{compiler.process(element.clauses, **options)} >= {element.lowest}"


@compiles(_Holds, "sqlite")
def _by_type(element: _Holds, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    column = compiler.process(element.clauses, **options)
    types = ", ".join(f"'{name}'" for name in element.types)
    lowest = "" if element.lowest is None else f" AND +{column} >= {element.lowest}"
    return f"typeof({column}) IN ({types}){lowest}"


def _are_ids(*columns: ColumnElement[int]) -> list[_Holds]:
    return [_Holds(column, "integer", lowest=1) for column in columns]


def _are_text(*columns: ColumnElement[Any]) -> list[_Holds]:
    return [_Holds(column, "text", "null") for column in columns]


_comment = request_comments.c
_analysis = comment_llm_analyses.c
_attribute = user_attributes.c
_request = help_requests.c

# Not cast but read as text: neither driver spends time on dates, and none that is odd ends a page.
_COMMENTS: Query = select(
    _comment.id,
    _comment.user_id,
    _comment.help_request_id,
    _comment.body,
    type_coerce(_comment.created_at, Text).label("created_at"),
    type_coerce(_comment.deleted_at, Text).label("deleted_at"),
).where(*_are_ids(_comment.id, _comment.user_id, _comment.help_request_id))
_TEXTS = (_analysis.resource_tags, _analysis.request_tags, _analysis.tags, _analysis.recorded_at)
ANALYSES: Query = select(_analysis.comment_id, *_TEXTS).where(*_are_ids(_analysis.comment_id), *_are_text(*_TEXTS))

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
    .where(_comment.user_id > _key("after"), *_are_ids(_comment.user_id))
    .group_by(_comment.user_id)
    .order_by(_comment.user_id)
    .limit(_key("limit"))
)

ANALYSES_AFTER: Query = (
    ANALYSES.where(_analysis.comment_id > _key("after")).order_by(_analysis.comment_id).limit(_key("limit"))
)
ANALYSES_BETWEEN: Query = ANALYSES.where(_analysis.comment_id.between(_key("low"), _key("high"))).order_by(
    _analysis.comment_id
)
ANALYSES_OF_RUN: Query = (
    ANALYSES.where(_analysis.run_id == bindparam("run"), _analysis.comment_id > _key("after"))
    .order_by(_analysis.comment_id)
    .limit(_key("limit"))
)
RUNS: Query = (
    select(comment_llm_runs)
    .where(comment_llm_runs.c.run_id.is_not(None), _Holds(comment_llm_runs.c.run_id, "text"))
    .order_by(comment_llm_runs.c.run_id)
)

# substr, because LIKE takes `_` for any character and, in SQLite, ignores case.
_IS_MEMBERSHIP = and_(
    func.substr(_attribute.key, 1, len(KEY_PREFIX)) == KEY_PREFIX,
    *_are_ids(_attribute.user_id),
    *_are_text(_attribute.value),
)
MEMBERSHIPS: Query = (
    select(_attribute.user_id, _attribute.key, cast(_attribute.value, Text))
    .where(_IS_MEMBERSHIP)
    .order_by(_attribute.id)
)
MEMBERSHIPS_OF_USER: Query = MEMBERSHIPS.where(_attribute.user_id == _key("user"))
GROUP_REQUESTS: Query = select(_request.id, _request.title).where(
    func.substr(_request.title, 1, len(TITLE_PREFIX)) == TITLE_PREFIX, *_are_ids(_request.id)
)
COMMENTING_USERS: Query = (
    select(_comment.user_id)
    .where(_comment.user_id > _key("after"), *_are_ids(_comment.user_id))
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

HIGHEST_COMMENT: Query = select(func.max(_comment.id)).where(*_are_ids(_comment.id))
HIGHEST_ANALYSIS: Query = select(func.max(_analysis.comment_id)).where(*_are_ids(_analysis.comment_id))

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
    return ANALYSES.where(_among(_analysis.comment_id, dialect))


@cache
def latest_deleted(dialect: str) -> Query:
    """The comments that were deleted last."""
    return _latest(_COMMENTS, _comment.deleted_at, dialect)


@cache
def latest_analyses(dialect: str) -> Query:
    """The analyses that were recorded last."""
    return _latest(ANALYSES, _analysis.recorded_at, dialect)


def _latest(query: Query, time: ColumnElement[Any], dialect: str) -> Query:
    """Find them by a range in SQLite, whose way through the index ends then where the nulls begin.

    PostgreSQL's does anyway, and there the column may be of any type.
    """
    has_one = time > text("''") if dialect == "sqlite" else time.is_not(None)
    return query.where(has_one, _Holds(time, "text")).order_by(time.desc()).limit(_key("limit"))


def _among(column: ColumnElement[int], dialect: str) -> ColumnElement[bool]:
    """One parameter for any number of ids: SQLite limits parameters, and SQLAlchemy would render each list again."""
    if dialect == "sqlite":
        return column.in_(select(func.json_each(bindparam("ids", type_=Text)).table_valued("value").c.value))
    return column == any_(bindparam("ids", type_=ARRAY(BigInteger)))


REQUIRED_MAIN: tuple[Query, ...] = (
    _COMMENTS,
    select(_attribute.id, _attribute.user_id, _attribute.key, _attribute.value),
    select(_request.id, _request.title),
)
REQUIRED_INSIGHTS: tuple[Query, ...] = (ANALYSES.add_columns(_analysis.run_id), select(comment_llm_runs))
"""All that is ever read of each database."""

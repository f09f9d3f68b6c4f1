"""Values that no column of this kind should hold, though SQLite takes them: such a row counts nowhere."""

from collections.abc import Callable, Mapping
from datetime import datetime
from random import Random
from typing import Any

from sqlalchemy import text

from projections.whiteballoon import INSIGHTS
from support.whiteballoon import WhiteBalloon

_HIGHEST_ID = 2**63 - 1
_BLOB = b"\x00\xff["
_UPDATE = "UPDATE OR IGNORE {0} SET {1} = :value WHERE rowid = (SELECT rowid FROM {0} ORDER BY random() LIMIT 1)"
_KINDS: tuple[tuple[str, str, tuple[object, ...]], ...] = (
    ("request_comments", "id", (-4, 0)),
    ("request_comments", "body", (_BLOB,)),
    ("request_comments", "user_id", ("nobody", 2.5, -1, _BLOB)),
    ("request_comments", "help_request_id", ("none", 1.5, 0)),
    ("request_comments", "created_at", ("soon", 7, _BLOB)),
    ("request_comments", "deleted_at", ("soon", _BLOB)),
    ("comment_llm_analyses", "tags", (_BLOB,)),
    ("user_attributes", "value", (_BLOB,)),
    ("help_requests", "title", (_BLOB,)),
)

Rows = Mapping[str, Mapping[str, Any]]
Fits = Callable[[Any], bool]


def disturb(wb: WhiteBalloon, dice: Random) -> None:
    """Write one such value."""
    table, column, values = dice.choice(_KINDS)
    with (wb.insights if table in INSIGHTS.tables else wb.main).begin() as connection:
        connection.execute(text(_UPDATE.format(table, column)), {"value": dice.choice(values)})


def _is_id(value: object) -> bool:
    return isinstance(value, int) and 1 <= value <= _HIGHEST_ID


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_text_or_null(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is None
    except ValueError:
        return False


def _is_time_or_null(value: object) -> bool:
    return value is None or _is_time(value)


_FITS: Mapping[str, Mapping[str, Fits]] = {
    "user_attributes": {"user_id": _is_id, "key": _is_text, "value": _is_text_or_null},
    "help_requests": {"id": _is_id, "title": _is_text_or_null},
    "request_comments": {
        "id": _is_id,
        "user_id": _is_id,
        "help_request_id": _is_id,
        "body": _is_text,
        "created_at": _is_time,
        "deleted_at": _is_time_or_null,
    },
    "comment_llm_analyses": {
        "comment_id": _is_id,
        "resource_tags": _is_text_or_null,
        "request_tags": _is_text_or_null,
        "tags": _is_text_or_null,
    },
}


def left_out(rows: Rows) -> Rows:
    """The rows (as `rows_of` gives them) without those that hold such a value."""
    return {
        name: {**table, "rows": [row for row in table["rows"] if _fits(name, table, row)]}
        for name, table in rows.items()
    }


def _fits(name: str, table: Mapping[str, Any], row: Any) -> bool:  # noqa: ANN401  a row's values
    values = dict(zip(table["columns"], row, strict=True))
    return all(fits(values[column]) for column, fits in _FITS.get(name, {}).items())

"""What the databases must have, and what they may have: tables, columns, indexes."""

import re
from functools import partial
from typing import Any

from sqlalchemy import Column, Connection, Table, inspect
from sqlalchemy.exc import NoSuchTableError

from projections.errors import OperatorError
from projections.faults import DatabaseUnavailable, Place
from projections.queries import Query
from projections.reader import Reader


def check(reader: Reader, required: tuple[Query, ...], place: Place) -> None:
    """Raise OperatorError unless everything that these queries read is there and may be read."""
    try:
        missing = reader.read(lambda connection: _missing(connection, required))
        if missing:
            raise OperatorError(
                f"{place} has no {', '.join(missing)}; set {place.variable} to WhiteBalloon's database, or migrate it"
            )
        for query in required:  # that this user may read them is known only by reading
            reader.read(partial(_try, query=query.limit(0)))
    except DatabaseUnavailable as error:  # at the start nobody knows that it will pass
        raise OperatorError(str(error)) from error


def is_indexed(connection: Connection, column: Column[Any]) -> bool:
    """Whether an index begins with this column, and leaves out nothing but rows without a value there."""
    table = column.table
    name = table.name if isinstance(table, Table) else ""
    for index in inspect(connection).get_indexes(name):
        wheres = [str(text) for key, text in index.get("dialect_options", {}).items() if key.endswith("_where")]
        if index["column_names"][:1] == [column.name] and all(_has_value(text, column.name) for text in wheres):
            return True
    return False


def _has_value(condition: str, column: str) -> bool:
    return re.sub(r'[\s()"]', "", condition).lower() == f"{column}isnotnull"


def _missing(connection: Connection, required: tuple[Query, ...]) -> list[str]:
    missing: list[str] = []
    inspector = inspect(connection)
    for query in required:
        table = query.get_final_froms()[0]
        try:
            present = {column["name"] for column in inspector.get_columns(str(table))}
        except NoSuchTableError:
            missing.append(f"table {table}")
            continue
        missing += [f"column {table}.{column.name}" for column in query.selected_columns if column.name not in present]
    return missing


def _try(connection: Connection, query: Query) -> None:
    connection.execute(query, {}).close()

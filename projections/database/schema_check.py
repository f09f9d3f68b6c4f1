"""What the databases must have, and what they may have: tables, columns, indexes."""

import re
from functools import partial
from typing import Any

from sqlalchemy import Column, Connection, Table, inspect
from sqlalchemy.engine.interfaces import ReflectedIndex
from sqlalchemy.exc import InvalidRequestError, NoSuchTableError

from projections.database.connection import Reader
from projections.database.errors import DatabaseLocation
from projections.database.queries import Query
from projections.errors import DatabaseUnavailableError, NotMadeYetError, OperatorError, UnreachableError

_UNUSUAL = {"nulls_first", "nulls_last"}
"""PostgreSQL names these only where it is not its usual place; then its last rows come in another order than ours."""


def check(reader: Reader, required: tuple[Query, ...], place: DatabaseLocation) -> None:
    """Raise OperatorError unless everything that these queries read is there and may be read.

    UnreachableError where the database can't be read at present; NotMadeYetError where a server has none of the tables.
    """
    try:
        missing = reader.read(lambda connection: _missing(connection, required))
        if _is_all(missing, required) and reader.dialect != "sqlite":
            raise NotMadeYetError(
                f"{place} has none of WhiteBalloon's tables; start WhiteBalloon, which makes them, or correct "
                f"{place.variable}"
            )
        if missing:
            raise OperatorError(
                f"{place} has no {', '.join(missing)}; set {place.variable} to WhiteBalloon's database, or migrate it"
            )
        for query in required:  # that this user may read them is known only by reading
            reader.read(partial(_try, query=query.limit(0)))
    except DatabaseUnavailableError as error:  # at the start it is not known whether it will pass
        raise UnreachableError(str(error)) from error


def _is_all(missing: list[str], required: tuple[Query, ...]) -> bool:
    return missing == [f"table {query.get_final_froms()[0]}" for query in required]


def is_absent(reader: Reader, required: tuple[Query, ...], place: DatabaseLocation) -> bool:
    """Whether the place itself answers, and merely has none of these tables: nobody made them yet."""
    if place.path is not None and not place.path.exists():
        return place.path.parent.is_dir() and not place.path.is_symlink()
    return _is_all(reader.read(lambda connection: _missing(connection, required)), required)


def is_indexed(reader: Reader, column: Column[Any]) -> bool:
    """Whether an index leads to the last rows by this column; False where this user may not know.

    It begins with the column, has an order, and leaves out nothing but rows without a value there.
    """
    try:
        return reader.read(lambda connection: any(map(partial(_leads, column.name), _indexes(connection, column))))
    except (OperatorError, InvalidRequestError):  # nothing depends on it but how soon some changes are seen
        return False


def _indexes(connection: Connection, column: Column[Any]) -> list[ReflectedIndex]:
    table = column.table
    return inspect(connection).get_indexes(table.name if isinstance(table, Table) else "")


def _leads(column: str, index: ReflectedIndex) -> bool:
    options = index.get("dialect_options", {})
    wheres = [str(text) for key, text in options.items() if key.endswith("_where")]
    return (
        index["column_names"][:1] == [column]
        and "postgresql_using" not in options  # a B-tree is not named
        and not _UNUSUAL & set(index.get("column_sorting", {}).get(column, ()))
        and all(_has_value(text, column) for text in wheres)
    )


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

"""Text that is not in the encoding which its database claims: read all the same, U+FFFD in place of what is wrong.

A tenth slower, so it is only done once a page could not be read otherwise.
"""

import sqlite3
from functools import partial
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

_SQLSTATES = {"22021", "22P05"}
"""PostgreSQL's `character_not_in_repertoire` and `untranslatable_character`."""
_TEXTS = ("text", "varchar", "bpchar", "name", "timestamp", "timestamptz", 0)
"""0: any type that psycopg does not know."""


def is_garbled(error: Exception) -> bool:
    """Whether a text could not be decoded, by the driver or by the server."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return str(cause).startswith("Could not decode to UTF-8")
    return isinstance(cause, UnicodeDecodeError) or getattr(cause, "sqlstate", None) in _SQLSTATES


def tolerate(connection: Connection) -> None:
    """Let a connection, in a transaction, read such text; its end is that of the driver's connection too."""
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        driver.text_factory = partial(str, encoding="utf-8", errors="replace")
        return
    from psycopg.adapt import Loader  # noqa: PLC0415 - an eighth of a second that SQLite can do without

    connection.detach()
    # In its own encoding the server sends a text as it is; SQL_ASCII is none, whoever wrote it.
    connection.exec_driver_sql("SELECT set_config('client_encoding', current_setting('server_encoding'), true)")
    encoding = driver.info.encoding.replace("ascii", "utf-8")

    class Replacing(Loader):
        def load(self, data: Any) -> str:  # noqa: ANN401 - psycopg's buffers
            return str(data, encoding, "replace")

    for kind in _TEXTS:
        driver.adapters.register_loader(kind, Replacing)

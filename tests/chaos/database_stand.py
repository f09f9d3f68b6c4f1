"""WhiteBalloon's database under attack: two SQLite files, or PostgreSQL behind a proxy."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Protocol

import psycopg
from sqlalchemy import Connection, delete, make_url, text

from chaos.proxy import Proxy
from projections.whiteballoon import MAIN
from support.postgres_server import NativePostgres
from support.whiteballoon import WhiteBalloon, file_of

_NAME = "whiteballoon"

Copy = dict[str, list[dict[str, Any]]]
"""The rows of each table of the main database."""


class DatabaseStand(Protocol):
    """What faults do to the database. Writers use `wb`, the product the URLs."""

    wb: WhiteBalloon
    main_url: str
    insights_url: str

    def lock(self) -> Callable[[], None]: ...
    def take_away(self) -> None: ...
    def bring_back(self) -> None: ...
    def close(self) -> None: ...


class SQLiteStand:
    """Two files, as WhiteBalloon has them."""

    def __init__(self, folder: Path, *, wal: bool) -> None:
        self.wb = WhiteBalloon.in_folder(folder)
        self.main_url, self.insights_url = self.wb.main_url, self.wb.insights_url
        self._folder = folder
        self._away = folder.with_name("away")
        if wal:
            for url in (self.main_url, self.insights_url):
                with closing(sqlite3.connect(file_of(url))) as connection:
                    connection.execute("PRAGMA journal_mode=WAL")

    def lock(self) -> Callable[[], None]:
        """Lock the main file until the function that it gives is called: for readers too, unless it is in WAL mode."""
        connection = sqlite3.connect(file_of(self.main_url), timeout=60, isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        return connection.close

    def take_away(self) -> None:
        self._folder.rename(self._away)

    def bring_back(self) -> None:
        self._away.rename(self._folder)

    def close(self) -> None:
        """Nothing runs."""


class PostgresStand:
    """A server of its own."""

    def __init__(self, folder: Path, seed: str) -> None:
        self._server = NativePostgres(folder)
        with psycopg.connect(f"{self._server.url}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {_NAME} TEMPLATE template0".encode())
        direct = make_url(f"{self._server.url}/{_NAME}").set(drivername="postgresql+psycopg")
        self._target = (str(direct.host), int(direct.port or 0))
        self.proxy = Proxy(self._target, seed)
        self.wb = WhiteBalloon(direct.render_as_string(), direct.render_as_string())
        self.wb.create()
        self.main_url = self.insights_url = direct.set(port=self.proxy.port).render_as_string()

    def lock(self) -> Callable[[], None]:
        """Lock the comments against reading until the function that it gives is called.

        Not while a process that was stopped is in the middle of reading: who waited for it could not let it go on.
        """
        connection = psycopg.connect(self.wb.main_url.replace("+psycopg", ""))
        with suppress(psycopg.errors.LockNotAvailable):
            connection.execute("SET lock_timeout = '5s'")
            connection.execute("LOCK TABLE request_comments IN ACCESS EXCLUSIVE MODE")
        return connection.close

    def take_away(self) -> None:
        self.proxy.lead_to(None)

    def bring_back(self) -> None:
        self.proxy.lead_to(self._target)

    def close(self) -> None:
        self.proxy.close()
        self.wb.main.dispose()
        self._server.close()


def copy_of(wb: WhiteBalloon) -> Copy:
    """All rows of the main database, as a backup has them."""
    with wb.main.connect() as connection:
        return {table.name: _rows(connection, table.name) for table in MAIN.sorted_tables}


def restore(wb: WhiteBalloon, copy: Copy) -> None:
    """Put a backup in the place of what is there, in one transaction."""
    with wb.main.begin() as connection:
        for table in reversed(MAIN.sorted_tables):
            connection.execute(delete(table))
        for table in MAIN.sorted_tables:
            if rows := copy[table.name]:
                columns = [*rows[0]]
                places = ", ".join(f":{column}" for column in columns)
                statement = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608  our tables
                connection.execute(text(statement), rows)


def _rows(connection: Connection, table: str) -> list[dict[str, Any]]:
    """As they are stored: an odd value passes unread."""
    found = connection.execute(text(f"SELECT * FROM {table}"))  # noqa: S608  our tables
    return [dict(row._mapping) for row in found]  # noqa: SLF001  its public name


def patiently(work: Callable[[], None], seconds: float = 20.0) -> None:
    """Do this; while the database is locked by another, again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return work()
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)

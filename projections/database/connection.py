"""One database, opened for reading only: SQLite's file or a PostgreSQL server behind one small class."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from projections.database.errors import DatabaseLocation, explain, is_lock
from projections.database.garbled import is_garbled, tolerate
from projections.errors import DatabaseUnavailableError, OperatorError
from projections.masking import mask

T = TypeVar("T")

EXAMPLES = "sqlite:///data/app.db or postgresql://host/database"
LOCK_WAIT_S = 1.0
"""How long SQLite itself waits for a lock. It cannot be interrupted meanwhile, so it is short and done again."""


class Reader:
    """Reads one database in short, read-only transactions; safe to use from several threads."""

    def __init__(self, engine: Engine, place: DatabaseLocation, timeout: float) -> None:
        self._engine = engine
        self._timeout = timeout
        self.place = place
        self._watch = _FileWatch(engine, place.path) if place.path else None

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction that has ended on return.

        `work` must fetch all that it wants before it returns, and may be run more than once.
        Raises DatabaseUnavailableError where trying again later may help, OperatorError where it cannot.
        """
        return self._patiently(partial(self._once, work))

    def server(self) -> str:
        """Name the program behind it and its version."""

        def read(connection: Connection) -> str:
            version = connection.dialect.server_version_info or ()
            return f"{connection.dialect.name} {'.'.join(map(str, version))}"

        return self.read(read)

    def change_token(self) -> tuple[str, int]:
        """What differs from the last one whenever something was committed between; this process' own.

        The text where a commit was seen. The number where none was, and the files alone were trusted for `RECHECK_S`.
        """
        if self._watch:
            return self._patiently(self._watch.token)
        return self.read(lambda connection: str(connection.execute(_SNAPSHOT).scalar_one())), 0

    def close(self) -> None:
        """Close all connections."""
        if self._watch:
            self._watch.close()
        self._engine.dispose()

    def _once(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._engine.connect() as connection, connection.begin():
                return work(connection)
        except (DBAPIError, sqlite3.Error, UnicodeDecodeError) as error:
            if not is_garbled(error):
                raise
        with self._engine.connect() as connection, connection.begin():
            tolerate(connection)
            return work(connection)

    def _patiently(self, attempt: Callable[[], T]) -> T:
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return attempt()
            except (DBAPIError, sqlite3.Error) as error:
                if is_lock(error) and time.monotonic() < deadline:
                    continue  # SQLite has waited already
                explained = explain(error, self.place)
                if explained is error:
                    raise
                raise explained from error
            except OSError as error:
                raise DatabaseUnavailableError(f"{self.place} cannot be found: {error.strerror}") from error


_State = tuple[int, int, int, int]
_SNAPSHOT = text("SELECT concat(pg_current_snapshot(), ' ', pg_last_wal_replay_lsn())")
"""Changes with every commit; on a standby, whose snapshots leave out some of what runs, the position replayed does."""


QUIET_S = 5.0
"""Longer than the coarsest file system's steps of time."""
RECHECK_S = 30.0
"""How long the files' sizes and times alone are trusted: a file system may not show them as they are."""


class _FileWatch:
    """Sees commits of other connections to a SQLite file, through `data_version` of one idle connection.

    While nothing is written, that connection is closed, and the files' sizes and times are watched: as long as any
    connection is open, WhiteBalloon's last one can't put the WAL into the database when it ends, and whoever then
    copied the file, or put another in its place, would have the wrong half. The WAL's name is the one that SQLite
    tells: where the path is a link, it lies beside the target.
    """

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine = engine
        self._path = path
        self._lock = threading.Lock()
        self._connection: Any = None
        self._file: tuple[int, ...] | None = None
        self._wal: Path | None = None
        self._version: int | None = None
        self._commits = self._looks = 0
        self._quiet_since = 0.0
        self._last: list[_State] = []
        self._closed_at: tuple[list[_State], float] | None = None

    def token(self) -> tuple[str, int]:
        with self._lock:
            state = self._state()  # before the version: what is committed after that changes it
            closed_at = self._closed_at[1] if self._closed_at and self._closed_at[0] == state else None
            if closed_at is None or time.monotonic() - closed_at >= RECHECK_S:
                self._look(state, seems_unchanged=closed_at is not None)
            return str(self._commits), self._looks

    def _look(self, state: list[_State], *, seems_unchanged: bool) -> None:
        self._open(state[0][:2])
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        before, self._version = (self._version, self._last), version
        if seems_unchanged:  # a new connection can't tell: versions are its own
            self._looks += 1
        elif version != before[0]:
            self._commits += 1
        # What was just written may be of an open transaction, whose commit could bear the very same time.
        if (version, state) != before:
            self._last, self._quiet_since = state, time.monotonic()
        elif time.monotonic() - self._quiet_since >= QUIET_S:
            self._close()
            self._closed_at = state, time.monotonic()

    def _open(self, file: tuple[int, ...]) -> None:
        if file != self._file:  # the first time, or it was closed, or another file took its place
            self._close()
            self._connection = self._engine.raw_connection()
            self._file = file
            # As bytes: a path need not be UTF-8. Behind a link, SQLite puts the WAL beside the target.
            ((name,),) = self._connection.execute(
                "SELECT CAST(file AS BLOB) FROM pragma_database_list WHERE name = 'main'"
            )
            self._wal = Path(f"{os.fsdecode(name) if name else self._path}-wal")

    def _state(self) -> list[_State]:
        """Device, inode, size and time of the database and, where there is one, of its WAL."""
        stats = [self._path.stat()]
        with suppress(FileNotFoundError):
            if self._wal is not None:
                stats.append(self._wal.stat())
        return [(one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) for one in stats]

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._file = self._closed_at = self._version = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def open_reader(url: str, variable: str, timeout: float) -> Reader:
    """Prepare reading; nothing connects yet. `variable` names the setting that the URL came from, for messages.

    `timeout`: seconds that a lock on a SQLite file is waited out. Raises OperatorError for a URL of any other kind.
    """
    parsed = _parsed(url, variable)
    if parsed.get_backend_name() == "sqlite":
        path = _path(parsed, variable)
        if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):  # noqa: PTH110, PTH112, PTH113
            raise OperatorError(f"{variable} (sqlite:///{path}) is a pipe or a device; write {EXAMPLES}")
        return Reader(_sqlite_engine(path), DatabaseLocation(variable, f"sqlite:///{path}", path), timeout)
    try:
        engine = _postgres_engine(parsed)
    except ArgumentError:  # of hosts and ports in the URL's query
        raise OperatorError(f"{variable} is not a database URL; write {EXAMPLES}") from None
    return Reader(engine, DatabaseLocation(variable, mask(parsed.render_as_string())), timeout)


def _parsed(url: str, variable: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # its text is not shown: a password may stand anywhere in it
        raise OperatorError(f"{variable} is not a database URL; write {EXAMPLES}") from None
    backend = parsed.drivername.partition("+")[0]
    if backend == "sqlite":
        return parsed.set(drivername="sqlite")
    if backend in ("postgresql", "postgres"):  # whichever driver WhiteBalloon itself uses, ours is psycopg
        return parsed.set(drivername="postgresql+psycopg")
    raise OperatorError(f"{variable} names a database of kind {backend!r}, which is not supported; write {EXAMPLES}")


def _path(url: URL, variable: str) -> Path:
    database = url.database or ""
    if database.startswith("file:"):
        database = unquote(database.removeprefix("file:"))
    if database in ("", ":memory:"):
        raise OperatorError(f"{variable} ({url}) names no file, and memory is not shared; write sqlite:///data/app.db")
    return Path(database).absolute()


def _sqlite_engine(path: Path) -> Engine:
    """`mode=ro`: a wrong path is an error, not a new database. No pool: it would go on reading a replaced file."""
    engine = create_engine(
        URL.create("sqlite", database=f"file:{quote(os.fsencode(path))}", query={"mode": "ro", "uri": "true"}),
        poolclass=NullPool,
        connect_args={"timeout": LOCK_WAIT_S, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def no_begin(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN leaves out SELECT; the one below doesn't

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


_POSTGRES_DEFAULTS = {
    "connect_timeout": 5,
    "application_name": "signal-identity-snapshotter",
}


def _postgres_engine(url: URL) -> Engine:
    """Read-only by each transaction: a setting of the session would leak to others through a pooler such as PgBouncer.

    No prepared statements, so each range of keys gets the plan that suits it.
    """
    from psycopg.types.string import TextLoader  # noqa: PLC0415 - an eighth of a second that SQLite can do without

    defaults = {key: value for key, value in _POSTGRES_DEFAULTS.items() if key not in url.query}
    engine = create_engine(
        url,
        pool_pre_ping=True,
        isolation_level="REPEATABLE READ",
        connect_args={**defaults, "client_encoding": "utf8", "prepare_threshold": None},
        execution_options={"postgresql_readonly": True},
    )

    @event.listens_for(engine, "connect")
    def times_as_text(connection: Any, _record: object) -> None:  # noqa: ANN401 - psycopg's
        for kind in ("timestamp", "timestamptz"):  # as in SQLite; 'infinity' must not end a whole page
            connection.adapters.register_loader(kind, TextLoader)

    @event.listens_for(engine, "begin")
    def dates_as_iso(connection: Connection) -> None:
        driver: Any = connection.connection.dbapi_connection
        if not (driver.info.parameter_status("DateStyle") or "ISO").startswith("ISO"):  # set for a role or a database
            connection.exec_driver_sql("SET LOCAL DateStyle = 'ISO'")

    return engine

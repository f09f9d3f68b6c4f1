"""What a database driver's error means for the operator: wait and retry, or fix something first."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DBAPIError, ProgrammingError

from projections.errors import DatabaseUnavailableError, OperatorError


@dataclass(frozen=True)
class DatabaseLocation:
    """Where a database is: the variable that says so, its URL without password, its file where it is SQLite."""

    variable: str
    url: str
    path: Path | None = None

    def __str__(self) -> str:
        return f"{self.variable} ({self.url})"


LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}


def is_lock(error: Exception) -> bool:
    """Whether a writer's lock on a SQLite file stood in the way."""
    cause = _cause(error)
    return isinstance(cause, sqlite3.Error) and _code(cause) in LOCKED


def explain(error: Exception, place: DatabaseLocation) -> Exception:
    """Translate a driver's error: DatabaseUnavailableError, OperatorError, or itself where it is our own bug."""
    cause = _cause(error)
    if isinstance(cause, sqlite3.Error):
        return _sqlite(cause, place) or error
    if isinstance(error, DBAPIError):
        return _postgres(error, place) or error
    return error


def _cause(error: Exception) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the upper bits only refine it


_OUR_BUGS = {0, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE}

_SQLITE: dict[int, tuple[type[Exception], str]] = {
    **dict.fromkeys(
        LOCKED, (DatabaseUnavailableError, "stays locked by a writer; end the process that holds it, or try again")
    ),
    sqlite3.SQLITE_READONLY: (
        DatabaseUnavailableError,
        "was left half-written by a writer that died; it is repaired when WhiteBalloon next opens it",
    ),
    sqlite3.SQLITE_NOTADB: (OperatorError, "is not a SQLite database; correct the variable"),
    sqlite3.SQLITE_CORRUPT: (OperatorError, "is damaged; restore it from a backup"),
}


def _sqlite(error: sqlite3.Error, place: DatabaseLocation) -> Exception | None:
    code = _code(error)
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_DIRECTORY:
        code = sqlite3.SQLITE_CANTOPEN  # a WAL that no process has open, in a folder where we may create no file
    if code in _SQLITE:
        kind, meaning = _SQLITE[code]
        return kind(f"{place} {meaning}")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR):
        return DatabaseUnavailableError(f"{place} {_unreadable(place, code)}")
    if str(error).startswith("no such"):
        return OperatorError(f"{place} is not WhiteBalloon's: {error}; correct {place.variable}, or migrate it")
    if code in _OUR_BUGS:
        return None
    return OperatorError(f"{place} can't be read: {error}; see the disk, and whether SQLite's own tools read the file")


def _unreadable(place: DatabaseLocation, code: int) -> str:
    path = place.path
    if path is None or not path.exists():
        return f"does not exist; set {place.variable} to the URL of WhiteBalloon's database"
    if path.is_dir():
        return f"is a folder; set {place.variable} to the URL of WhiteBalloon's database file in it"
    if code == sqlite3.SQLITE_IOERR:
        return "cannot be read from its disk; look at the disk and the kernel's log"
    return (
        f"cannot be opened; let this user read the file and, while its journal mode is WAL, write to the folder "
        f"{path.parent} (SQLite keeps {path.name}-shm there)"
    )


_PASSING = ("08", "25", "40", "53", "55", "57", "58", "XX")
"""Classes of SQLSTATE that say something of the server's state, not of the query."""
_STOPPED = {
    "57014": "let this user's queries take longer (statement_timeout), or try again",
    "55P03": "let this user wait longer for locks (lock_timeout), or try again",
    "40001": "try again, or let the standby keep its queries longer (max_standby_streaming_delay)",
}
"""What ended a query of a server that is there, and answers."""


_REFUSED = {
    "42P01": "is not WhiteBalloon's: {reason}; correct {variable}, or migrate it",
    "42703": "is not WhiteBalloon's: {reason}; correct {variable}, or migrate it",
    "42501": "refuses to be read: {reason}; GRANT SELECT on WhiteBalloon's tables to this user",
    "42883": "lacks what this program needs: {reason}; it must be PostgreSQL 13 or newer",
}


def _postgres(error: DBAPIError, place: DatabaseLocation) -> Exception | None:
    state = getattr(error.orig, "sqlstate", None)
    reason = " ".join(str(error.orig).split("\nLINE ")[0].split())
    if state is None and isinstance(error, ProgrammingError):
        return OperatorError(f"{place} is not a valid URL: {reason}; correct {place.variable}")
    if state is None or state.startswith(_PASSING):
        meaning = f"stopped a query: {reason}; {_STOPPED[state]}" if state in _STOPPED else _unreachable(reason, place)
        return DatabaseUnavailableError(f"{place} {meaning}")
    if state in _REFUSED:
        return OperatorError(f"{place} {_REFUSED[state].format(reason=reason, variable=place.variable)}")
    if state.startswith("42"):  # a query that can't be meant: our own bug
        return None
    return OperatorError(f"{place} refuses a query: {reason} (SQLSTATE {state}); see PostgreSQL's log")


def _unreachable(reason: str, place: DatabaseLocation) -> str:
    return (
        f"cannot be reached: {reason}; start PostgreSQL, or correct host, database, user and password in "
        f"{place.variable}"
    )

"""The demo's community in a PostgreSQL database: made once, and then it goes on writing."""

from collections.abc import Callable
from datetime import datetime
from random import Random

from sqlalchemy import Connection, create_engine, func, insert, inspect, make_url, select, text, update
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from consumer.commands.admin import demo_database
from projections.errors import OperatorError
from projections.masking import mask
from projections.whiteballoon import INSIGHTS, MAIN, comment_llm_analyses, comment_llm_runs, request_comments

_ONE_DELETED_OF = 20
_NUMBERED = ("users", "help_requests", "request_comments")


class Community:
    """Writes to the database at `url`, in one transaction a call; `now` is UTC without a zone.

    Raises OperatorError for a URL that is none of PostgreSQL's.
    """

    def __init__(self, url: str, random: Random, now: Callable[[], datetime]) -> None:
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):  # its text is not shown: a password may stand anywhere in it
            raise OperatorError("--url is not a database URL; write postgresql://host/database") from None
        if parsed.get_backend_name() not in ("postgresql", "postgres"):
            raise OperatorError(f"--url ({mask(url)}) is none of PostgreSQL's; for SQLite there is snapshot-admin demo")
        self._url = mask(url)
        self._engine = create_engine(
            parsed.set(drivername="postgresql+psycopg"), poolclass=NullPool, connect_args={"connect_timeout": 5}
        )
        self._random = random
        self._now = now

    def fill(self) -> bool:
        """Make tables and rows in an empty database; False where that was done before.

        Raises OperatorError where others have made tables of these names, or the server can't be reached or refuses.
        """
        try:
            with self._engine.begin() as connection:
                present = set(inspect(connection).get_table_names()) & {*MAIN.tables, *INSIGHTS.tables}
                if not present:
                    _fill(connection)
                elif not _is_ours(connection, present):
                    raise OperatorError(
                        f"{self._url} has tables that the demo did not make ({', '.join(sorted(present))}); "
                        "nothing was written; give an empty database with --url"
                    )
        except DBAPIError as error:
            reason = " ".join(str(error.orig).split())
            raise OperatorError(
                f"{self._url} can't be filled: {reason}; start PostgreSQL, correct --url, or let its user create tables"
            ) from None
        return not present

    def write(self) -> int:
        """Write one more comment, most often with an analysis, at times deleting an earlier one; the new one's id.

        Raises sqlalchemy.exc.DBAPIError.
        """
        with self._engine.begin() as connection:
            last = connection.execute(select(func.max(request_comments.c.id))).scalar_one()
            comment, analysis = demo_database.new_comment(self._random, last + 1, self._now())
            given = {name: value for name, value in comment.items() if name != "id"}
            key: int = connection.execute(
                insert(request_comments).values(given).returning(request_comments.c.id)
            ).scalar_one()
            if analysis is not None:
                connection.execute(insert(comment_llm_analyses), analysis | {"comment_id": key})
            if self._random.randrange(_ONE_DELETED_OF) == 0:
                self._delete_one(connection, key)
        return key

    def _delete_one(self, connection: Connection, before: int) -> None:
        row = request_comments.c
        chosen = self._random.randrange(1, before)
        connection.execute(
            update(request_comments).where(row.id == chosen, row.deleted_at.is_(None)).values(deleted_at=self._now())
        )


def _fill(connection: Connection) -> None:
    for metadata, tables in zip((MAIN, INSIGHTS), demo_database.rows(), strict=True):
        metadata.create_all(connection)
        for table, rows in tables:
            connection.execute(insert(table), rows)
    for name in _NUMBERED:  # their rows brought ids of their own
        connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM {name}"))  # noqa: S608


def _is_ours(connection: Connection, present: set[str]) -> bool:
    if present != {*MAIN.tables, *INSIGHTS.tables}:
        return False
    run = comment_llm_runs.c
    made = run.run_id == demo_database.RUN, run.model == demo_database.MODEL
    ours = select(func.count()).select_from(comment_llm_runs).where(*made)
    return connection.execute(ours).scalar_one() == 1

"""A WhiteBalloon to test against: real tables in SQLite or PostgreSQL, and everything its users do to them."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from sqlalchemy import URL, Engine, Executable, Table, create_engine, func, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.pool import NullPool

from projections.comments.groups import KEY_PREFIX, TITLE_PREFIX
from projections.database.database import SqlDatabase, open_databases
from projections.whiteballoon import (
    INSIGHTS,
    MAIN,
    comment_llm_analyses,
    comment_llm_runs,
    help_requests,
    request_comments,
    user_attributes,
    users,
)

START = datetime(2024, 6, 1, 9)  # noqa: DTZ001 - WhiteBalloon stores UTC without a zone
Labels = Iterable[str] | str | None
"""A list column: labels (written as JSON), the column's text as it is, or null."""


class WhiteBalloon:
    """Writes to the two databases at these SQLAlchemy URLs (one, where they are equal). Each call is one transaction.

    New comments come a second after the last one where no time is given. Nothing is held open between calls.
    """

    def __init__(self, main_url: str, insights_url: str) -> None:
        self.main_url = main_url
        self.insights_url = insights_url
        self.main = create_engine(main_url, poolclass=NullPool)
        self.insights = self.main if insights_url == main_url else create_engine(insights_url, poolclass=NullPool)
        self._moment = START

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """A new one in two SQLite files in this folder, named as the oracle's are; its tables are created."""
        folder.mkdir(parents=True, exist_ok=True)
        made = cls(sqlite_url(folder / "app.db"), sqlite_url(folder / "comment_llm_insights.db"))
        made.create()
        return made

    def create(self) -> None:
        MAIN.create_all(self.main)
        INSIGHTS.create_all(self.insights)

    # ------------------------------------------------------------------------------------------------ people, groups

    def add_user(self, name: str | None = None, user_id: int | None = None) -> int:
        return self._insert(users, id=user_id, username=name, is_admin=False, created_at=START, sync_scope="private")

    def remove_user(self, user_id: int) -> None:
        """In one transaction the account goes, and with it its attributes and all that the user wrote."""
        self._run(
            self.main,
            request_comments.delete().where(request_comments.c.user_id == user_id),
            user_attributes.delete().where(user_attributes.c.user_id == user_id),
            users.delete().where(users.c.id == user_id),
        )

    def upheave(self, comment_id: int, slug: str, *, request_id: int) -> None:
        """In one transaction: a comment is edited, then moved, and its author's membership ends."""
        comment = request_comments.c
        author = select(comment.user_id).where(comment.id == comment_id).scalar_subquery()
        attribute = user_attributes.c
        self._run(
            self.main,
            request_comments.update().where(comment.id == comment_id).values(body="edited https://example.org/moved"),
            request_comments.update().where(comment.id == comment_id).values(help_request_id=request_id),
            user_attributes.delete().where(attribute.user_id == author, attribute.key == KEY_PREFIX + slug),
        )

    def reuse(self, comment_id: int, *, user_id: int, body: str = "another") -> None:
        """In one transaction: the comment's row goes, and another's takes its id."""
        request = select(request_comments.c.help_request_id).where(request_comments.c.id == comment_id)
        with self.main.begin() as connection:
            request_id = connection.execute(request).scalar()
            connection.execute(request_comments.delete().where(request_comments.c.id == comment_id))
            if request_id is not None:
                row = {"id": comment_id, "user_id": user_id, "help_request_id": request_id, "body": body}
                connection.execute(request_comments.insert().values(created_at=START, **row))

    def join(self, user_id: int, slug: str, name: str | None) -> None:
        """Give the user the membership, or change its group's name."""
        self.leave(user_id, slug)
        self.set_attribute(user_id, KEY_PREFIX + slug, name)

    def leave(self, user_id: int, slug: str) -> None:
        column = user_attributes.c
        self._run(self.main, user_attributes.delete().where(column.user_id == user_id, column.key == KEY_PREFIX + slug))

    def set_attribute(self, user_id: int, key: str, value: str | None) -> int:
        return self._insert(user_attributes, user_id=user_id, key=key, value=value, created_at=START, updated_at=START)

    def add_request(self, title: str | None, request_id: int | None = None) -> int:
        return self._insert(help_requests, id=request_id, title=title, created_at=START, updated_at=START)

    def rename_request(self, request_id: int, title: str | None) -> None:
        self._run(self.main, help_requests.update().where(help_requests.c.id == request_id).values(title=title))

    def add_group(self, slug: str, name: str, members: int = 1) -> tuple[int, list[int]]:
        """A request of this group and so many members: (request id, user ids)."""
        request_id = self.add_request(TITLE_PREFIX + name)
        user_ids = [self.add_user() for _ in range(members)]
        for user_id in user_ids:
            self.join(user_id, slug, name)
        return request_id, user_ids

    # ------------------------------------------------------------------------------------------------------ comments

    def comment(  # noqa: PLR0913 - the columns of the row, by name
        self,
        user_id: int,
        request_id: int,
        body: str = "hello",
        at: datetime | None = None,
        *,
        deleted_at: datetime | None = None,
        comment_id: int | None = None,
    ) -> int:
        self._moment += timedelta(seconds=1)
        return self._insert(
            request_comments,
            id=comment_id,
            user_id=user_id,
            help_request_id=request_id,
            body=body,
            created_at=at or self._moment,
            deleted_at=deleted_at,
        )

    def comments(self, rows: Sequence[dict[str, Any]]) -> None:
        """Many comments in one transaction: user_id, help_request_id, body, created_at and perhaps id of each."""
        self._write(self.main, request_comments.insert(), rows)

    def edit(self, comment_id: int, body: str) -> None:
        self._change(comment_id, body=body)

    def soft_delete(self, comment_id: int, at: datetime | None = None) -> None:
        self._moment += timedelta(seconds=1)
        self._change(comment_id, deleted_at=at or self._moment)

    def restore(self, comment_id: int) -> None:
        self._change(comment_id, deleted_at=None)

    def hard_delete(self, comment_id: int) -> None:
        """The comment's row goes; its analysis stays, as in WhiteBalloon, where no key crosses the databases."""
        self._run(self.main, request_comments.delete().where(request_comments.c.id == comment_id))

    def move(self, comment_id: int, *, request_id: int | None = None, user_id: int | None = None) -> None:
        to = {"help_request_id": request_id, "user_id": user_id}
        self._change(comment_id, **{column: value for column, value in to.items() if value is not None})

    # ------------------------------------------------------------------------------------------------------ insights

    def analyse(  # noqa: PLR0913 - the columns of the row, by name
        self,
        comment_id: int,
        *,
        resource_tags: Labels = None,
        request_tags: Labels = None,
        tags: Labels = None,
        run_id: str = "run-1",
        recorded_at: str = "2024-06-02T08:00:00",
        counted: bool = True,
    ) -> None:
        """Write the comment's analysis, in place of an earlier one, and count a batch in its run (which may be new).

        Not `counted`: the run's row, which must be there, stays as it is.
        """
        row = {
            "comment_id": comment_id,
            "run_id": run_id,
            "help_request_id": 0,
            "resource_tags": _column(resource_tags),
            "request_tags": _column(request_tags),
            "tags": _column(tags),
            "recorded_at": recorded_at,
        }
        key = comment_llm_analyses.c.comment_id
        self._run(
            self.insights,
            comment_llm_analyses.delete().where(key == comment_id),
            comment_llm_analyses.insert().values(row),
            *([self._counted_batch(run_id)] if counted else []),
        )

    def _counted_batch(self, run_id: str) -> Executable:
        insert = postgresql.insert if self.insights.dialect.name == "postgresql" else sqlite.insert
        row = dict.fromkeys(("snapshot_label", "provider", "model"), "test")
        statement = insert(comment_llm_runs).values(
            run_id=run_id, **row, started_at="2024-06-02T08:00:00", completed_batches=1, total_batches=1
        )
        batches = comment_llm_runs.c.completed_batches + 1
        return statement.on_conflict_do_update(index_elements=["run_id"], set_={"completed_batches": batches})

    def remove_analysis(self, comment_id: int) -> None:
        key = comment_llm_analyses.c.comment_id
        self._run(self.insights, comment_llm_analyses.delete().where(key == comment_id))

    # ----------------------------------------------------------------------------------------------------- whole rows

    def load(self, rows: dict[str, dict[str, Any]]) -> None:
        """Write the oracle's rows (table name -> columns, rows) into empty tables, on PostgreSQL too."""
        for metadata, engine in ((MAIN, self.main), (INSIGHTS, self.insights)):
            for table in metadata.sorted_tables:
                columns = rows[table.name]["columns"]
                dates = {column.name for column in table.c if column.type.python_type is datetime}
                flags = {column.name for column in table.c if column.type.python_type is bool}
                values = [
                    {name: _value(name, value, dates, flags) for name, value in zip(columns, row, strict=True)}
                    for row in rows[table.name]["rows"]
                ]
                self._write(engine, table.insert(), values)
        self._pass_ids_by()

    def _pass_ids_by(self) -> None:
        """PostgreSQL's sequences know nothing of ids that were written by hand."""
        if self.main.dialect.name != "postgresql":
            return
        for table in MAIN.sorted_tables:
            sequence = func.pg_get_serial_sequence(table.name, "id")
            highest = select(func.coalesce(func.max(table.c.id), 1)).scalar_subquery()
            self._run(self.main, select(func.setval(sequence, highest)))

    def _change(self, comment_id: int, **values: object) -> None:
        self._run(self.main, request_comments.update().where(request_comments.c.id == comment_id).values(values))

    def _insert(self, table: Table, **values: object) -> int:
        """Write a row; without an id (None), the database gives it the next one."""
        given = {column: value for column, value in values.items() if column != "id" or value is not None}
        with self.main.begin() as connection:
            key = connection.execute(table.insert().values(given)).inserted_primary_key
        assert key is not None
        return int(key[0])

    def _run(self, engine: Engine, *statements: Executable) -> None:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(statement)

    def _write(self, engine: Engine, statement: Executable, rows: Sequence[dict[str, Any]]) -> None:
        with engine.begin() as connection:
            connection.execute(statement, rows)


def sqlite_url(path: Path) -> str:
    """A URL that names this file whatever characters are in its name."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def file_of(url: str) -> Path:
    """The file that a URL of SQLite names."""
    return Path(make_url(url).database or "")


def execute(url: str, *statements: str) -> None:
    """Run SQL on a SQLite file, past SQLAlchemy, in one transaction."""
    with closing(sqlite3.connect(file_of(url))) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


@contextmanager
def opener(wb: WhiteBalloon) -> Iterator[Callable[..., SqlDatabase]]:
    """A function that opens these databases, with open_databases' options; all are closed in the end."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(open_databases(wb.main_url, wb.insights_url, **options))


def _column(labels: Labels) -> str | None:
    return labels if labels is None or isinstance(labels, str) else json.dumps(list(labels))


def _value(name: str, value: object, dates: set[str], flags: set[str]) -> object:
    if name in dates and isinstance(value, str):
        return datetime.fromisoformat(value)
    return bool(value) if name in flags else value

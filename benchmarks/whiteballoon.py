"""A large WhiteBalloon to measure with: the oracle's rows many times over, its users copied, its groups shared.

17 copies are 407,184 comments, 285,141 analyses and 25,568 profiles. Copies lie interleaved, so one user's comments are
as far apart in the table as they are in life.
"""

import gzip
import json
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import create_engine, inspect, make_url
from sqlalchemy.pool import NullPool

from projections.whiteballoon import INSIGHTS, MAIN

COPIES = 17
ROOT = Path(__file__).parents[1]
FOLDER = Path(tempfile.gettempdir()) / "signal-snapshotter-benchmarks"
"""Outside the checkout: the oracle's rows are copied nowhere else."""
ORACLE = Path(os.environ.get("ORACLE_DIR", ROOT.parent / "shared" / "oracle"))
MAIN_FILE = "app.db"
INSIGHTS_FILE = "comment_llm_insights.db"
_USERS, _COMMENTS = "users", "comments"
_COPIED = {
    "users": {"id": _USERS},
    "user_attributes": {"id": _USERS, "user_id": _USERS},
    "request_comments": {"id": _COMMENTS, "user_id": _USERS},
    "comment_llm_analyses": {"comment_id": _COMMENTS},
}
"""The columns that are different in each copy, and of what they are ids; any other table is taken once."""


class Shape(NamedTuple):
    """How many times over the users and the comments are there.

    Several copies of comments may be of one copy of users; or one copy's comments be shared out among several.
    """

    users: int
    comments: int

    def user_copy(self, comment: int, copy: int) -> int:
        """Whose comment this copy of a comment is.

        >>> [Shape(6, 2).user_copy(comment, 1) for comment in range(4)], Shape(1, 3).user_copy(7, 2)
        ([3, 4, 5, 3], 0)
        """
        if self.users <= self.comments:
            return copy % self.users
        share = self.users // self.comments
        return copy * share + comment % share


def create(shape: Shape) -> Path:
    """Create the two SQLite files in a folder, unless they are there; hours of work are not repeated each time."""
    folder = FOLDER / f"{shape.users}-users-{shape.comments}-comments"
    if not folder.is_dir():
        half = folder.with_name(f"{folder.name}.half")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        for metadata, file in ((MAIN, MAIN_FILE), (INSIGHTS, INSIGHTS_FILE)):
            metadata.create_all(create_engine(f"sqlite:///{half / file}", poolclass=NullPool))
            with sqlite3.connect(half / file) as connection:
                for table in metadata.sorted_tables:
                    columns, values = _copies(table.name, shape)
                    places = ", ".join("?" * len(columns))
                    connection.executemany(f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({places})", values)  # noqa: S608 - ours
            connection.close()
        half.rename(folder)
    return folder


def urls(folder: Path) -> dict[str, str]:
    """The environment that names these databases."""
    return {
        "DATABASE_URL": f"sqlite:///{folder / MAIN_FILE}",
        "INSIGHTS_DATABASE_URL": f"sqlite:///{folder / INSIGHTS_FILE}",
    }


def chosen(copies: int) -> dict[str, str]:
    """The environment for a command line `[COPIES [URL]]`: SQLite files of that size, or a PostgreSQL database."""
    copies = int(sys.argv[1]) if len(sys.argv) > 1 else copies
    shape = Shape(copies, copies)
    if len(sys.argv) < 3:  # noqa: PLR2004 - the URL's place
        return urls(create(shape))
    url = sys.argv[2]
    if not inspect(create_engine(url, poolclass=NullPool)).get_table_names():
        _fill_postgres(url, shape)
    return {"DATABASE_URL": url, "INSIGHTS_DATABASE_URL": url}


@cache
def oracle_rows() -> dict[str, Any]:
    """For each table its columns and rows."""
    rows: dict[str, Any] = json.loads(gzip.decompress((ORACLE / "wb_rows.json.gz").read_bytes()))
    return rows


def _fill_postgres(url: str, shape: Shape) -> None:
    """Put both halves into one database."""
    for metadata in (MAIN, INSIGHTS):
        metadata.create_all(create_engine(url, poolclass=NullPool))
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as connection, connection.cursor() as cursor:
        for table in (*MAIN.sorted_tables, *INSIGHTS.sorted_tables):
            columns, values = _copies(table.name, shape)
            with cursor.copy(f"COPY {table.name} ({', '.join(columns)}) FROM STDIN".encode()) as copy:
                for one in values:
                    copy.write_row(one)
        cursor.execute("ANALYZE")


def _copies(table: str, shape: Shape) -> tuple[list[str], Iterator[list[Any]]]:
    """The columns of a table, and its rows so many times over."""
    columns: list[str] = oracle_rows()[table]["columns"]
    rows: list[list[Any]] = oracle_rows()[table]["rows"]
    copied = {columns.index(name): kind for name, kind in _COPIED.get(table, {}).items()}
    of_comments = _COMMENTS in copied.values()
    copies = (shape.comments if of_comments else shape.users) if copied else 1
    username = columns.index("username") if table == "users" else None

    def one(row: list[Any], copy: int) -> list[Any]:
        values = list(row)
        user = shape.user_copy(row[0], copy) if of_comments else copy
        for place, kind in copied.items():
            values[place] = row[place] * shape.comments + copy if kind == _COMMENTS else row[place] * shape.users + user
        if username is not None and values[username] is not None:
            values[username] = f"{values[username]}-{copy}"
        return values

    return columns, (one(row, copy) for row in rows for copy in range(copies))

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
from pathlib import Path
from typing import Any

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
_COPIED = {
    "users": ("id",),
    "user_attributes": ("id", "user_id"),
    "help_requests": (),
    "request_comments": ("id", "user_id"),
    "comment_llm_runs": (),
    "comment_llm_analyses": ("comment_id",),
}
"""The columns that are different in each copy; a table without any is taken once."""


def create(name: str = "whiteballoon", copies: int = COPIES) -> Path:
    """Create the two SQLite files in a folder, unless they are there; hours of work are not repeated each time."""
    folder = FOLDER / name
    if not folder.is_dir():
        half = folder.with_name(f"{folder.name}.half")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        rows = _oracle_rows()
        for metadata, file in ((MAIN, MAIN_FILE), (INSIGHTS, INSIGHTS_FILE)):
            metadata.create_all(create_engine(f"sqlite:///{half / file}", poolclass=NullPool))
            with sqlite3.connect(half / file) as connection:
                for table in metadata.sorted_tables:
                    _fill(connection, table.name, rows[table.name], copies)
            connection.close()
        half.rename(folder)
    return folder


def urls(folder: Path) -> dict[str, str]:
    """The environment that names these databases."""
    return {
        "DATABASE_URL": f"sqlite:///{folder / MAIN_FILE}",
        "INSIGHTS_DATABASE_URL": f"sqlite:///{folder / INSIGHTS_FILE}",
    }


def chosen(name: str, copies: int) -> dict[str, str]:
    """The environment for a command line `[COPIES [URL]]`: SQLite files of that name, or a PostgreSQL database."""
    copies = int(sys.argv[1]) if len(sys.argv) > 1 else copies
    if len(sys.argv) < 3:  # noqa: PLR2004 - the URL's place
        return urls(create(f"{name}-{copies}", copies))
    url = sys.argv[2]
    if not inspect(create_engine(url, poolclass=NullPool)).get_table_names():
        _fill_postgres(url, copies)
    return {"DATABASE_URL": url, "INSIGHTS_DATABASE_URL": url}


def _fill_postgres(url: str, copies: int) -> None:
    """Put both halves into one database."""
    rows = _oracle_rows()
    for metadata in (MAIN, INSIGHTS):
        metadata.create_all(create_engine(url, poolclass=NullPool))
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as connection, connection.cursor() as cursor:
        for table in (*MAIN.sorted_tables, *INSIGHTS.sorted_tables):
            columns, values = _copies(table.name, rows[table.name], copies)
            with cursor.copy(f"COPY {table.name} ({', '.join(columns)}) FROM STDIN".encode()) as copy:
                for one in values:
                    copy.write_row(one)
        cursor.execute("ANALYZE")


def _oracle_rows() -> dict[str, Any]:
    rows: dict[str, Any] = json.loads(gzip.decompress((ORACLE / "wb_rows.json.gz").read_bytes()))
    return rows


def _fill(connection: sqlite3.Connection, table: str, rows: dict[str, Any], copies: int) -> None:
    columns, values = _copies(table, rows, copies)
    insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - ours
    connection.executemany(insert, values)


def _copies(table: str, rows: dict[str, Any], copies: int) -> tuple[list[str], Iterator[list[Any]]]:
    """The columns of a table, and its rows so many times over."""
    columns: list[str] = rows["columns"]
    places = [columns.index(name) for name in _COPIED[table]]
    name = columns.index("username") if table == "users" else None

    def copied(row: list[Any], copy: int) -> list[Any]:
        values = list(row)
        for place in places:
            values[place] = values[place] * copies + copy
        if name is not None and values[name] is not None:
            values[name] = f"{values[name]}-{copy}"
        return values

    return columns, (copied(row, copy) for row in rows["rows"] for copy in range(copies if places else 1))

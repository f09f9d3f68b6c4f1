"""A large WhiteBalloon to measure with: the oracle's rows many times over, its users copied, its groups shared.

17 copies are 407,184 comments, 285,141 analyses and 25,568 profiles. Copies lie interleaved, so one user's comments are
as far apart in the table as they are in life.
"""

import gzip
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from projections.whiteballoon import INSIGHTS, MAIN

COPIES = 17
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


def create(folder: Path, oracle: Path, copies: int = COPIES) -> Path:
    """Make the two SQLite files in this folder, unless they are there; a day's work is not begun anew each time."""
    if not folder.is_dir():
        half = folder.with_name(f"{folder.name}.half")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        rows = json.loads(gzip.decompress((oracle / "wb_rows.json.gz").read_bytes()))
        for metadata, name in ((MAIN, MAIN_FILE), (INSIGHTS, INSIGHTS_FILE)):
            metadata.create_all(create_engine(f"sqlite:///{half / name}", poolclass=NullPool))
            with sqlite3.connect(half / name) as connection:
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


def _fill(connection: sqlite3.Connection, table: str, rows: dict[str, Any], copies: int) -> None:
    columns: list[str] = rows["columns"]
    places = [columns.index(name) for name in _COPIED[table]]
    name = columns.index("username") if table == "users" else None
    insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - ours
    for row in rows["rows"]:
        for copy in range(copies if places else 1):
            values = list(row)
            for place in places:
                values[place] = values[place] * copies + copy
            if name is not None and values[name] is not None:
                values[name] = f"{values[name]}-{copy}"
            connection.execute(insert, values)

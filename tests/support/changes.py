"""Random changes of every kind that WhiteBalloon's users and programs make, from a seed."""

import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import Select, create_engine, func, select
from sqlalchemy.exc import IntegrityError

from projections.comments.groups import TITLE_PREFIX
from projections.whiteballoon import help_requests, request_comments, users
from support.whiteballoon import START, WhiteBalloon

GROUPS = {"elm": "Elm St", "oak": "Oak Ave", "ash": "Ash Rd", "elm2": "Elm St"}
TITLES = [*(TITLE_PREFIX + name for name in ("Elm St", "Oak Ave", "Ash Rd")), "Sofa", None]
BODIES = ["hello", "see https://example.org/a and https://example.org/b", "> quoted\n\nhi\n\n(Reactions: Ann 👍)"]
LABELS = ["ride", "food", "sofa", "bike"]

Kind = tuple[int, Callable[[], object]]
"""How often it happens, and what does it."""


def people(wb: WhiteBalloon, number: int = 12) -> None:
    """Users, memberships and requests to begin with."""
    for slug, name in GROUPS.items():
        wb.add_group(slug, name, members=number // len(GROUPS))
    wb.add_request("Sofa")


class Changes:
    """One writer. `seed` decides all that it does, but not what others do meanwhile."""

    def __init__(self, wb: WhiteBalloon, seed: str) -> None:
        self._wb = WhiteBalloon(wb.main_url, wb.insights_url)
        self._wb.main = create_engine(wb.main_url)  # with a pool: a thousand connections take longer than the changes
        self._wb.insights = self._wb.main if wb.insights is wb.main else create_engine(wb.insights_url)
        self._random = random.Random(seed)  # noqa: S311  no secret is made of it
        self._kinds: list[Kind] = [
            (30, self._comment),
            (6, self._comments),
            (6, lambda: self._wb.soft_delete(self._some_comment())),
            (4, lambda: self._wb.restore(self._some_comment())),
            (6, lambda: self._wb.hard_delete(self._some_comment())),
            (1, lambda: self._wb.hard_delete(self._highest())),
            (8, lambda: self._wb.edit(self._some_comment(), self._body())),
            (6, lambda: self._wb.move(self._some_comment(), request_id=self._request())),
            (4, lambda: self._wb.move(self._some_comment(), user_id=self._user())),
            (3, lambda: self._wb.move(self._some_comment(), user_id=self._user(), request_id=self._request())),
            (14, self._analyse),
            (4, lambda: self._wb.remove_analysis(self._some_comment())),
            (5, self._join),
            (3, lambda: self._wb.leave(self._user(), self._slug())),
            (2, lambda: self._wb.rename_request(self._request(), self._random.choice(TITLES))),
            (2, self._below_the_head),
            (2, lambda: self._wb.reuse(self._some_comment(), user_id=self._user())),
            (2, lambda: self._wb.reuse(self._highest(), user_id=self._user())),
            (2, lambda: self._wb.upheave(self._some_comment(), self._slug(), request_id=self._request())),
            (1, self._replace_user),
        ]
        if wb.main.dialect.name == "postgresql":
            self._kinds.append((4, self._long_transaction))

    def make(self, number: int, pause: float = 0.0) -> None:
        """So many, one after the other."""
        weights, kinds = zip(*self._kinds, strict=True)
        try:
            for kind in self._random.choices(kinds, weights, k=number):
                with suppress(IntegrityError):  # another writer was faster
                    kind()
                if pause:
                    time.sleep(self._random.uniform(0, 2 * pause))
        finally:
            self._wb.main.dispose()
            self._wb.insights.dispose()

    def _user(self) -> int:
        return self._random.choice(self._column(select(users.c.id)))

    def _request(self) -> int:
        return self._random.choice(self._column(select(help_requests.c.id)))

    def _slug(self) -> str:
        return self._random.choice(list(GROUPS))

    def _replace_user(self) -> None:
        """Somebody goes, and somebody comes."""
        self._wb.remove_user(self._user())
        self._wb.join(self._wb.add_user(), slug := self._slug(), GROUPS[slug])

    def _highest(self) -> int:
        return self._column(select(func.coalesce(func.max(request_comments.c.id), 0)))[0]

    def _some_comment(self) -> int:
        return self._random.randint(1, max(1, self._highest()))

    def _body(self) -> str:
        return f"{self._random.choice(BODIES)} https://example.org/{self._random.randint(1, 20)}"

    def _column(self, query: Select[Any]) -> list[int]:
        with self._wb.main.connect() as connection:
            return list(connection.execute(query).scalars())

    def _comment(self) -> None:
        self._wb.comment(self._user(), self._request(), self._body())

    def _comments(self) -> None:
        rows = [
            {"user_id": self._user(), "help_request_id": self._request(), "body": self._body(), "created_at": START}
            for _ in range(self._random.randint(2, 12))
        ]
        self._wb.comments(rows)

    def _join(self) -> None:
        slug = self._slug()
        self._wb.join(self._user(), slug, self._random.choice([GROUPS[slug], GROUPS[slug], "Elm St", "X"]))

    def _analyse(self) -> None:
        labels = self._random.sample(LABELS, self._random.randint(0, 3))
        self._wb.analyse(self._some_comment(), tags=labels, run_id=f"run-{self._random.randint(1, 5)}")

    def _below_the_head(self) -> None:
        """Where a hard-deleted comment was; where there is one still, nothing."""
        free = self._some_comment()
        with self._wb.main.connect() as connection:
            if connection.execute(select(request_comments.c.id).where(request_comments.c.id == free)).first():
                return
        self._wb.comment(self._user(), self._request(), self._body(), comment_id=free)

    def _long_transaction(self) -> None:
        """Draw ids now, bring the rows later, or never."""
        with self._wb.main.connect() as connection:
            for _ in range(self._random.randint(1, 3)):
                row = {"user_id": self._user(), "help_request_id": self._request(), "body": self._body()}
                connection.execute(request_comments.insert().values(created_at=START, **row))
            time.sleep(self._random.uniform(0, 1))
            if self._random.random() < 0.7:
                connection.commit()

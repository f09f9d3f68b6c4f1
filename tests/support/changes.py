"""Random changes of every kind that WhiteBalloon's users and programs make, from a seed."""

import random
import time
from collections import Counter
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
BODIES = [
    "hello",
    "see https://example.org/a and https://example.org/b",
    "> quoted\n\nhi\n\n(Reactions: Ann 👍)",
    "> https://example.org/quoted\n(Reactions: Ann 👍, Bob ❤️, 🎉)\n[attachments: a.png, b.MP4, IMG_None.x-m4a]",
    "„https://example.org/c“, *https://example.org/d*, HTTPS://Example.ORG:443/e?utm_source=x&q=1#top.",
    "\u200b\n[Attachments: noending, x.tar.gz]\n\x1f\r\n",
    "",
]
_SWARM = [0, 0.3, 1, 1, 3, 8]
LABELS = ["ride", "food", "sofa", "bike"]

Kind = tuple[int, str, Callable[[], object]]
"""How often it happens, its name, and what does it."""


def people(wb: WhiteBalloon, number: int = 12) -> None:
    """Users, memberships and requests to begin with."""
    for slug, name in GROUPS.items():
        wb.add_group(slug, name, members=number // len(GROUPS))
    wb.add_request("Sofa")


class Changes:
    """One writer. `seed` decides all that it does, but not what others do meanwhile.

    `swarm`: it also decides how often each kind happens, some not at all: a mixture where one kind is frequent finds
    what an even one does not.
    """

    def __init__(self, wb: WhiteBalloon, seed: str, *, swarm: bool = False) -> None:
        self._wb = WhiteBalloon(wb.main_url, wb.insights_url)
        self._wb.main = create_engine(wb.main_url)  # with a pool: a thousand connections take longer than the changes
        self._wb.insights = self._wb.main if wb.insights is wb.main else create_engine(wb.insights_url)
        self._random = random.Random(seed)  # noqa: S311  no secret is made of it
        self.made: Counter[str] = Counter()
        """How many of each kind."""
        self._kinds: list[Kind] = [
            (30, "comment", self._comment),
            (6, "several comments", self._comments),
            (6, "soft deletion", lambda: self._wb.soft_delete(self._some_comment())),
            (4, "restore", lambda: self._wb.restore(self._some_comment())),
            (6, "hard deletion", lambda: self._wb.hard_delete(self._some_comment())),
            (1, "hard deletion of the newest", lambda: self._wb.hard_delete(self._highest())),
            (8, "edit", lambda: self._wb.edit(self._some_comment(), self._body())),
            (6, "move to a request", lambda: self._wb.move(self._some_comment(), request_id=self._request())),
            (4, "move to a user", lambda: self._wb.move(self._some_comment(), user_id=self._user())),
            (3, "move to both", self._move_to_both),
            (14, "analysis", self._analyse),
            (2, "analysis before its comment", self._analyse_early),
            (4, "analysis removed", lambda: self._wb.remove_analysis(self._some_comment())),
            (5, "membership", self._join),
            (3, "membership ended", lambda: self._wb.leave(self._user(), self._slug())),
            (2, "title", lambda: self._wb.rename_request(self._request(), self._random.choice(TITLES))),
            (2, "comment below the newest", self._below_the_head),
            (2, "id reused", lambda: self._wb.reuse(self._some_comment(), user_id=self._user())),
            (2, "newest id reused", lambda: self._wb.reuse(self._highest(), user_id=self._user())),
            (2, "edit, move and membership ended", self._upheave),
            (1, "user replaced", self._replace_user),
        ]
        if wb.main.dialect.name == "postgresql":
            self._kinds.append((4, "long transaction", self._long_transaction))
        self._weights = [weight * (self._random.choice(_SWARM) if swarm else 1) for weight, _, _ in self._kinds]
        self._weights[0] = max(self._weights[0], 5)  # without comments there is nothing to change

    def make(self, number: int, pause: float = 0.0) -> None:
        """So many, one after the other."""
        try:
            for _ in range(number):
                self.step()
                if pause:
                    time.sleep(self._random.uniform(0, 2 * pause))
        finally:
            self.close()

    def step(self) -> None:
        """One change; none where another writer was faster. Raises SQLAlchemy's errors of an unreachable database."""
        _, name, change = self._random.choices(self._kinds, self._weights)[0]
        with suppress(IntegrityError):
            change()
            self.made[name] += 1

    def close(self) -> None:
        """Close the connections; a further change opens new ones."""
        self._wb.main.dispose()
        self._wb.insights.dispose()

    def _user(self) -> int:
        return self._random.choice(self._column(select(users.c.id)))

    def _request(self) -> int:
        return self._random.choice(self._column(select(help_requests.c.id)))

    def _slug(self) -> str:
        return self._random.choice(list(GROUPS))

    def _replace_user(self) -> None:
        """A member leaves, and one joins."""
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

    def _analyse_early(self) -> None:
        """Of a comment that comes later, or never."""
        self._wb.analyse(self._highest() + self._random.randint(1, 5), tags=["early"], run_id="run-early")

    def _move_to_both(self) -> None:
        self._wb.move(self._some_comment(), user_id=self._user(), request_id=self._request())

    def _upheave(self) -> None:
        self._wb.upheave(self._some_comment(), self._slug(), request_id=self._request())

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

"""What people and WhiteBalloon do: random transactions of every kind."""

from random import Random
from typing import Any

from simulation.database import Analysis, Change, Tables, WhiteBalloon, title
from simulation.plan import Plan

from projections.comments.rows import AnalysisRow, CommentRow

_BODIES = (
    "see https://a.example/1 and https://b.example/",
    "https://a.example/1?utm_source=x https://c.example/path",
    "hello\n(Reactions: Ann 👍, Ben 🎉)",
    "look\n[attachments: one.png, two.pdf]",
    "> quoted https://a.example/1\nplain words",
    "https://d.example/ https://e.example/ https://f.example/ https://a.example/1",
)
_TAGS = ("food", "housing", "help", "music", "tools", "bikes", "cats")
NAMES = ("Elm", "Oak")
SLUGS = ("elm", "oak")
OTHER_TITLE = "Something else"


class Town:
    """Makes changes in a database; the targets are what is committed when the change is drawn."""

    def __init__(self, database: WhiteBalloon, random: Random, plan: Plan) -> None:
        self._database = database
        self._random = random
        self._plan = plan
        self._texts = 0

    # --------------------------------------------------------------------------------------------------------- begin

    def settle(self) -> None:
        """What is there before anything runs."""
        tables = self._database.tables
        for request in range(1, self._plan.requests + 1):
            tables.titles[request] = title(NAMES[request % len(NAMES)])
        for user in range(1, self._plan.users + 1):
            for slug, name in zip(SLUGS, NAMES, strict=True):
                if user == 1 or self._random.random() < 0.6:
                    tables.members[user, slug] = name
        for _ in range(self._plan.comments):
            for change in self.comment():
                change(tables)
        self._database.version += 1
        self._database.committed()

    def draw(self) -> list[Change]:
        """The changes of one transaction."""
        weights = self._plan.change_weights
        found: list[Change] = []
        for name in self._random.choices(list(weights), list(weights.values()), k=self._random.choice((1, 1, 1, 2))):
            found += getattr(self, name)()
        return found

    # ------------------------------------------------------------------------------------------------------ comments

    def comment(self) -> list[Change]:
        return [self._insert(self._database.draw_id())]

    def comments(self) -> list[Change]:
        first = self._database.draw_id()
        ids = [first, *(self._next(first, number) for number in range(1, self._random.randint(2, 8)))]
        return [self._insert(one) for one in ids]

    def _next(self, first: int, number: int) -> int:
        return first + number if self._database.one_writer else self._database.draw_id()

    def below_the_head(self) -> list[Change]:
        """A row with an id of its own choosing, or one that was free again."""
        highest = max(self._database.tables.comments, default=1)
        number = self._random.randint(1, highest)
        return [] if number in self._database.tables.comments else [self._insert(number)]

    def _insert(self, number: int) -> Change:
        row = CommentRow(number, self._user(), self._request(), self._body(), self._time(), None)

        def insert(tables: Tables) -> None:
            tables.comments.setdefault(number, row)

        return insert

    def edit(self) -> list[Change]:
        return self._update(body=self._body())

    def delete(self) -> list[Change]:
        return self._update(deleted_at=self._time())

    def restore(self) -> list[Change]:
        deleted = [one for one, row in self._database.tables.comments.items() if row.deleted_at is not None]
        return self._update(self._random.choice(deleted), deleted_at=None) if deleted else []

    def move(self) -> list[Change]:
        return self._update(help_request_id=self._request())

    def _update(self, number: int | None = None, **columns: Any) -> list[Change]:  # noqa: ANN401 - of CommentRow
        number = self._some_comment() if number is None else number
        if number is None:
            return []
        chosen = number

        def update(tables: Tables) -> None:
            row = tables.comments.get(chosen)
            if row is not None:
                tables.comments[chosen] = row._replace(**columns)

        return [update]

    def hard_delete(self) -> list[Change]:
        number = self._some_comment()
        return [] if number is None else [self.gone(number)]

    def gone(self, number: int) -> Change:
        """The row is no longer there; its analysis may stay, in another database."""
        keeps_analysis = self._random.random() < 0.5

        def remove(tables: Tables) -> None:
            tables.comments.pop(number, None)
            if not keeps_analysis:
                tables.analyses.pop(number, None)

        return remove

    # ------------------------------------------------------------------------------------------------------ analyses

    def analyse(self) -> list[Change]:
        """A run of the language model over a few comments."""
        run = f"run {self._text()}"
        numbers = [one for _ in range(self._random.randint(1, 4)) if (one := self._some_comment()) is not None]
        return [self._write(number, run) for number in numbers] + [lambda tables: tables.runs.update({run: "done"})]

    def analyse_again(self) -> list[Change]:
        """An analysis is replaced in its run; sometimes the run's row tells."""
        known = list(self._database.tables.analyses)
        if not known:
            return []
        number = self._random.choice(known)
        run = self._database.tables.analyses[number].run
        state = self._text()
        changes = [self._write(number, run)]
        if self._random.random() < 0.5:
            changes.append(lambda tables: tables.runs.update({run: state}))
        return changes

    def _write(self, number: int, run: str) -> Change:
        tags = [self._random.choice(_TAGS) for _ in range(self._random.randint(0, 3))]
        row = AnalysisRow(number, None, f'["{tags[0]}"]' if tags else "[]", ",".join(tags[1:]), self._time())

        def write(tables: Tables) -> None:
            tables.analyses[number] = Analysis(row, run)

        return write

    def unanalyse(self) -> list[Change]:
        known = list(self._database.tables.analyses)
        if not known:
            return []
        number = self._random.choice(known)
        return [lambda tables: tables.analyses.pop(number, None) and None]

    # -------------------------------------------------------------------------------------------------------- groups

    def join(self) -> list[Change]:
        user, which = self._user(), self._random.randrange(len(SLUGS))
        return [lambda tables: tables.members.update({(user, SLUGS[which]): NAMES[which]})]

    def leave(self) -> list[Change]:
        known = list(self._database.tables.members)
        if not known:
            return []
        one = self._random.choice(known)
        return [lambda tables: tables.members.pop(one, None) and None]

    def rename_group(self) -> list[Change]:
        """A membership gets another group's name."""
        known = list(self._database.tables.members)
        if not known:
            return []
        one, name = self._random.choice(known), self._random.choice(NAMES)
        return [lambda tables: tables.members.update({one: name}) if one in tables.members else None]

    def rename_request(self) -> list[Change]:
        request = self._request()
        text = self._random.choice((*map(title, NAMES), OTHER_TITLE))
        return [lambda tables: tables.titles.update({request: text})]

    # ------------------------------------------------------------------------------------------- much at once

    def half_restored(self) -> list[Change]:
        """The later rows are gone, as in a backup that was restored to its half."""
        ids = sorted(self._database.tables.comments)
        return [self.gone(one) for one in ids[len(ids) * self._random.randint(1, 5) // 10 :]]

    def members_gone(self) -> list[Change]:
        """All memberships but some."""
        lost = [one for one in sorted(self._database.tables.members) if self._random.random() < 0.9]

        def remove(tables: Tables) -> None:
            for one in lost:
                tables.members.pop(one, None)

        return [remove]

    def titles_gone(self) -> list[Change]:
        """All requests get another title."""
        return [lambda tables: tables.titles.update(dict.fromkeys(tables.titles, OTHER_TITLE))]

    def insights_gone(self) -> list[Change]:
        return [lambda tables: tables.analyses.clear()]

    # --------------------------------------------------------------------------------------------------------- draws

    def _user(self) -> int:
        return self._random.randint(1, self._plan.users)

    def _request(self) -> int:
        return self._random.randint(1, self._plan.requests)

    def _some_comment(self) -> int | None:
        known = list(self._database.tables.comments)
        return self._random.choice(known) if known else None

    def _text(self) -> str:
        self._texts += 1
        return str(self._texts)

    def _body(self) -> str:
        return f"{self._random.choice(_BODIES)}\n{self._text()}"

    def _time(self) -> str:
        day = self._random.randint(1, 28)
        return f"2024-0{self._random.randint(1, 9)}-{day:02} 10:{self._random.randint(0, 59):02}:00"

"""Faults of WhiteBalloon's database."""

from sqlalchemy import delete, select

from chaos.database_stand import PostgresStand, SQLiteStand, copy_of, patiently, restore
from chaos.expectation import expected, files
from chaos.faults.base import Fault
from chaos.world import World
from projections.whiteballoon import request_comments, users
from support.whiteballoon import file_of

_FEW = 0.05
_GUARDED = 20
"""The deletion guard lets fewer go, however many there are."""


class _OfDatabase(Fault):
    holds = frozenset({"database"})


class DatabaseLocked(_OfDatabase):
    """By a writer that takes its time."""

    weight = 4
    lasts = (1.0, 12.0)

    def begin(self) -> None:
        self._unlock = self.world.database.lock()

    def end(self) -> None:
        self._unlock()


class DatabaseAway(_OfDatabase):
    """Its folder is renamed; or the server refuses connections."""

    weight = 3
    lasts = (1.0, 12.0)

    def begin(self) -> None:
        self.world.writers.rest()
        self.world.database.take_away()

    def end(self) -> None:
        self.world.database.bring_back()
        self.world.writers.go_on()


class AnalysesAway(_OfDatabase):
    """SQLite's file of analyses is not there for a while."""

    weight = 3
    lasts = (1.0, 12.0)

    @classmethod
    def fits(cls, world: World) -> bool:
        return isinstance(world.database, SQLiteStand)

    def begin(self) -> None:
        self.world.writers.rest()
        path = file_of(self.world.database.insights_url)
        self._moved = {one: one.with_name(f"{one.name}.away") for one in path.parent.glob(f"{path.name}*")}
        for old, new in self._moved.items():
            old.rename(new)

    def end(self) -> None:
        for old, new in self._moved.items():
            new.rename(old)
        self.world.writers.go_on()


class DatabaseRepliesCut(_OfDatabase):
    """PostgreSQL's answers end in the middle."""

    weight = 4
    lasts = (0.5, 6.0)

    @classmethod
    def fits(cls, world: World) -> bool:
        return isinstance(world.database, PostgresStand)

    def begin(self) -> None:
        assert isinstance(self.world.database, PostgresStand)
        self.world.database.proxy.cut_replies(self.dice.randint(1, 6))

    def end(self) -> None:
        assert isinstance(self.world.database, PostgresStand)
        self.world.database.proxy.cut_replies(0)


class HalfRestored(_OfDatabase):
    """Most people's comments are missing for a while. Where nobody confirmed that, their files have to stay.

    Those of profiles that had ended before, by a title or a membership, are on their way out.
    """

    weight = 3
    lasts = (3.0, 12.0)

    def begin(self) -> None:
        self.world.writers.rest()
        wb = self.world.database.wb
        self._copy = copy_of(wb)
        with wb.main.connect() as connection:
            everybody = list(connection.execute(select(users.c.id)).scalars())
        gone = self.dice.sample(everybody, len(everybody) * 3 // 4)
        self._before = files(self.world.profiles).keys() & expected(self.world).keys()
        patiently(lambda: self._delete(gone))

    def _delete(self, gone: list[int]) -> None:
        with self.world.database.wb.main.begin() as connection:
            connection.execute(delete(request_comments).where(request_comments.c.user_id.in_(gone)))

    def end(self) -> None:
        missing = self._before - files(self.world.profiles).keys()
        self.facts["files missing"] = len(missing)
        if not self.world.traits.confirmed and len(missing) >= _GUARDED and len(missing) * 2 > len(self._before):
            self.world.failures.append(
                f"the deletion guard let {len(missing)} of {len(self._before)} files go while the database was restored"
            )
        patiently(lambda: restore(self.world.database.wb, self._copy))
        self.world.writers.go_on()


class FewRowsLost(_OfDatabase):
    """Fewer than the deletion guard blocks, for good."""

    weight = 2
    lasts = (0.0, 0.1)

    def begin(self) -> None:
        with self.world.writers.resting():
            patiently(self._delete)

    def _delete(self) -> None:
        comment = request_comments.c.id
        with self.world.database.wb.main.begin() as connection:
            ids = list(connection.execute(select(comment)).scalars())
            gone = self.dice.sample(ids, int(len(ids) * _FEW))
            connection.execute(delete(request_comments).where(comment.in_(gone)))


class MostRowsLost(_OfDatabase):
    """More than the deletion guard lets go without a confirmation, for good."""

    lasts = (0.0, 0.1)

    def begin(self) -> None:
        with self.world.writers.resting():
            patiently(self._delete)

    def _delete(self) -> None:
        with self.world.database.wb.main.begin() as connection:
            people = list(connection.execute(select(users.c.id)).scalars())
            gone = self.dice.sample(people, len(people) // 2)
            connection.execute(delete(request_comments).where(request_comments.c.user_id.in_(gone)))


class BackupRestored(_OfDatabase):
    """The database becomes, for good, what it was a while ago; ids that were given are given again."""

    weight = 2
    lasts = (3.0, 15.0)

    def begin(self) -> None:
        with self.world.writers.resting():
            self._copy = copy_of(self.world.database.wb)

    def end(self) -> None:
        with self.world.writers.resting():
            patiently(lambda: restore(self.world.database.wb, self._copy))


FAULTS: tuple[type[Fault], ...] = (
    DatabaseLocked,
    DatabaseAway,
    AnalysesAway,
    DatabaseRepliesCut,
    HalfRestored,
    FewRowsLost,
    MostRowsLost,
    BackupRestored,
)

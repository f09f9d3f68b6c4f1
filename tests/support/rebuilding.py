"""A small WhiteBalloon, a store and a folder, and rebuilds of them in this process, on time that passes when asked."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Text, select, type_coerce

from projections.codec import pack_head, unpack_head
from projections.comments.rows import events
from projections.database.database import Database, open_databases
from projections.profile_key import ProfileKey
from projections.profiles.head import Head
from projections.projection import Projection
from projections.store.protocol import HEAD, Store
from projections.whiteballoon import INSIGHTS, MAIN
from snapshot.announce.announcement import Announcement
from snapshot.cli.groups import refuse_unknown_group
from snapshot.files.folder import open_folder
from snapshot.flush.flusher import Flusher
from snapshot.processes.spawn import Inline
from snapshot.rebuild.rebuild import Order, Rebuild
from snapshot.rebuild.report import Report
from snapshot.rebuild.tasks import Output, RebuildContext
from snapshot.reconcile.reconcile import Scope
from snapshot.runtime.metrics import NoMetrics
from snapshot.runtime.progress import NoProgress
from support.aggregates import check_aggregates
from support.reference import reference_snapshots
from support.stores import save, write
from support.whiteballoon import WhiteBalloon

EVERYTHING = 2**63 - 1


class RecordingAnnouncer:
    """An announcer that remembers."""

    def __init__(self) -> None:
        self.all: list[Announcement] = []

    def announce(self, announcements: Sequence[Announcement]) -> list[Exception | None]:
        self.all += announcements
        return [None] * len(announcements)

    def close(self) -> None:
        """Nothing is held open."""


class Town:
    """`wait` lets the store's time pass. The database's clock does not move until `later` is called."""

    def __init__(self, folder: Path, wb: WhiteBalloon, store: Store, wait: Callable[[float], None]) -> None:
        self.wb = wb
        self.out = folder / "profiles"
        self.announced = RecordingAnnouncer()
        self.moment = 1_800_000_000_000_000
        self._wait = wait
        self.asleep: Callable[[], object] = lambda: None
        """What happens while a rebuild waits."""
        self._seconds = 0.0
        self.database: Database = open_databases(wb.main_url, wb.insights_url, host_clock=lambda: self.moment)
        self.projection = Projection(store)

    @property
    def store(self) -> Store:
        return self.projection.store

    def later(self, microseconds: int = 1_000_000) -> None:
        self.moment += microseconds

    def sleep(self, seconds: float) -> None:
        self._seconds += max(seconds, 0.001)
        self._wait(seconds)
        self.asleep()

    def work(self, *, deep: bool = False, dry_run: bool = False, group_slug: str | None = None) -> RebuildContext:
        refuse_unknown_group(group_slug, self.database.groups(), self.out, self.store)
        folder = open_folder(self.out, group_slug)
        flusher = Flusher(self.projection, folder, self.announced, NoMetrics(), lease=2.0)
        return RebuildContext(
            self.projection, self.database, Scope(group_slug, deep), Output(folder, None if dry_run else flusher)
        )

    def rebuild(self, *users: int, deep: bool = False, group_slug: str | None = None, **order: Any) -> Report:  # noqa: ANN401  of Order
        self.later()
        work = self.work(deep=deep, dry_run=order.get("dry_run", False), group_slug=group_slug)
        wanted = Order(frozenset(users) or None, **{"lag_seconds": 5.0, **order})
        try:
            return Rebuild(work, Inline(work), wanted, NoProgress(), now=lambda: self._seconds, sleep=self.sleep).run()
        finally:
            assert work.output is not None
            work.output.folder.close()

    def apply_rows(self, revision: int | None = None) -> None:
        """What the live path would have applied by now."""
        self.later()
        rows = self.database.comments_after(-1)
        analyses = {row.comment_id: row for row in self.database.analyses_after(-1)}
        self.projection.apply(events(rows, analyses, self.database.groups(), revision or self.moment))

    # ------------------------------------------------------------------------------------------------------ what holds

    def expected(self) -> dict[tuple[int, str], dict[str, Any]]:
        """The snapshots that the rows give, counted by other code."""
        return reference_snapshots(rows_of(self.wb))

    def files(self) -> dict[str, Any]:
        return {path.name: json.loads(path.read_text("utf-8")) for path in self.out.glob("*.json")}

    def check(self, group_slug: str | None = None) -> None:
        """Files are what the rows give, no more and no fewer; and all aggregates follow from their registers."""
        expected = [one for (_, slug), one in self.expected().items() if group_slug in (None, slug)]
        found = sorted(self.files().values(), key=lambda one: (one["user_id"], one["group_slug"]))
        assert found == sorted(expected, key=lambda one: (one["user_id"], one["group_slug"]))
        for key in self.store.profiles(0, EVERYTHING):
            assert check_aggregates(self.store, key) is False

    # --------------------------------------------------------------------------------------------- breaking the store

    def fields(self, key: ProfileKey) -> dict[bytes, bytes]:
        return dict(self.store.scan(key))

    def put(self, key: ProfileKey, sets: Mapping[bytes, bytes], deletes: Sequence[bytes] = ()) -> None:
        """Write fields past the fold."""
        version = self.store.load({key: ()})[key].version
        broken = write(key, version, b"broken" + version[:2] + bytes([len(sets)]), sets, dirty=False)
        assert save(self.store, type(broken)(key, version, broken.token, sets, deletes, dirty=False)) == []

    def put_head(self, key: ProfileKey, change: Callable[[Head], object]) -> None:
        head = unpack_head(self.fields(key)[HEAD])
        change(head)
        self.put(key, {HEAD: pack_head(head)})


def rows_of(wb: WhiteBalloon) -> dict[str, dict[str, Any]]:
    """All rows, as the oracle's file holds them."""
    rows: dict[str, dict[str, Any]] = {}
    for metadata, engine in ((MAIN, wb.main), (INSIGHTS, wb.insights)):
        with engine.begin() as connection:
            for table in metadata.sorted_tables:
                columns = [type_coerce(column, Text) if column.name.endswith("_at") else column for column in table.c]
                found = connection.execute(select(*columns).order_by(table.primary_key.columns.values()[0]))
                rows[table.name] = {
                    "columns": [column.name for column in table.c],
                    "rows": [[_text(value) for value in row] for row in found],
                }
    return rows


def _text(value: object) -> object:
    return value if value is None or isinstance(value, (int, float, str, bytes)) else str(value)

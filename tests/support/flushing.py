"""A flusher on a bench: a folder, an announcer that keeps what it is given, clocks that the test moves, and crashes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from projections.comments.events import Event
from projections.profile_key import ProfileKey
from projections.projection import Projection
from projections.store.protocol import Store, StoreUnavailableError
from projections.store.rollback import RollbackDetector
from snapshot.announce.announcement import Announcement, key_of
from snapshot.build import build
from snapshot.files.folder import ProfileFolder, open_folder
from snapshot.flush.batch import Flushed
from snapshot.flush.flusher import Flusher
from snapshot.runtime.metrics import NoMetrics
from snapshot.schema import parse_file
from support.stores import NOW, Bench


class Crash(BaseException):
    """Ends a flusher where it stands; no `except Exception` may hold it."""


class RecordingAnnouncer:
    """An announcer that keeps what it is given. While `failing` is set it answers with that."""

    def __init__(self) -> None:
        self.all: list[Announcement] = []
        self.failing: Exception | None = None

    def announce(self, announcements: Sequence[Announcement]) -> list[Exception | None]:
        if self.failing is not None:
            return [self.failing] * len(announcements)
        self.all += announcements
        return [None] * len(announcements)

    def close(self) -> None:
        """Nothing is held open."""

    def of(self, key: ProfileKey) -> list[str | None]:
        """The hashes that were announced of this profile, in order."""
        return [one.snapshot_hash for one in self.all if key_of(one) == f"{key.user_id}:{key.group_slug}"]

    def latest(self) -> dict[ProfileKey, str | None]:
        """What downstream believes: for each profile the announcement with the highest sequence."""
        found: dict[ProfileKey, Announcement] = {}
        for one in self.all:
            key = ProfileKey(one.user_id, one.group_slug)
            if key not in found or one.sequence >= found[key].sequence:
                found[key] = one
        return {key: one.snapshot_hash for key, one in found.items()}

    def compacted(self) -> dict[ProfileKey, str | None]:
        """What a compacted topic keeps: for each profile the announcement that arrived last."""
        return {ProfileKey(one.user_id, one.group_slug): one.snapshot_hash for one in self.all}


class Rig:
    """One store, one folder, one announcer; and flushers on them, of which a test may have several.

    `now` is the flushers' clock, in seconds; it stands still unless the test moves it. `lease` and `retry` are waited
    out by the store's clock, so they are short where its time is real.
    """

    def __init__(self, bench: Bench, path: Path, *, group_slug: str | None = None, store: Store | None = None) -> None:
        self.bench = bench
        self.store = store or bench.open(NOW)
        self.projection = Projection(self.store)
        self.folder = open_folder(path, group_slug)
        self.announced = RecordingAnnouncer()
        self.now = 0.0
        self.lease, self.retry = (30.0, 5.0) if bench.examples > 100 else (0.4, 0.3)
        self.flusher().add_folder()

    def flusher(self, **parts: Any) -> Flusher:  # noqa: ANN401  any of the flusher's arguments
        """Make one; `store` and `folder` stand for what a test puts in their place."""
        projection = Projection(parts.pop("store", self.store))
        folder: ProfileFolder = parts.pop("folder", self.folder)
        announced = parts.pop("announcer", self.announced)
        metrics = parts.pop("metrics", NoMetrics())
        options = {"lease": self.lease, "retry": self.retry, "now": lambda: self.now, **parts}
        return Flusher(projection, folder, announced, metrics, **options)

    def witnessed(self) -> tuple[Flusher, RollbackDetector]:
        """Make one that notices when the store falls back."""
        detector = RollbackDetector(self.store)
        detector.accept()
        return self.flusher(detector=detector), detector

    def apply(self, *events: Event) -> None:
        self.projection.apply(events)

    def flush(self, flusher: Flusher | None = None) -> Flushed:
        """Flush until nothing is due, claims that ran out and what has to be flushed again included."""
        flusher = flusher or self.flusher()
        total = Flushed()
        for _ in range(30):
            flushed = flusher.flush()
            total += flushed
            due = flusher.wait()
            if not flushed.claims and due is None:
                return total
            self.bench.wait(max(0.0, due or 0.0))
        raise AssertionError(f"still due in {flusher.wait()} s, after {total}")

    def lying(self) -> dict[str, bytes]:
        """All profile files."""
        return {name: (self.folder.path / name).read_bytes() for name in self.folder.names()}

    def content(self, key: ProfileKey) -> dict[str, Any]:
        """What the file of this profile says."""
        held = self.folder.read(key)
        assert held is not None
        return parse_file(held).to_dict()

    def right(self) -> None:
        """Nothing is due; files, settled hashes and what downstream believes are what the heads give."""
        assert self.flusher().wait() is None
        files, believed = {}, {}
        keys = [key for key in self.store.profiles(0, 2**63 - 1) if self.folder.identity.group_slug in (None, key[1])]
        for key, shown in self.projection.read_current(keys).items():
            snapshot = build(key, shown.head)
            if snapshot is not None:
                files[self.folder.place(key).name] = snapshot.file_bytes()
            believed[key] = None if snapshot is None else snapshot.snapshot_hash
        assert self.lying() == files
        settled = self.store.settled(self.folder.identity.id, keys)
        assert [hash_ or None for hash_ in settled] == [believed[key] for key in keys]
        latest = self.announced.latest()
        assert {key: latest.get(key) for key in keys} == believed
        assert self.announced.compacted() == latest

    def close(self) -> None:
        self.folder.close()


class Interrupted:
    """Hands every call on to what it stands for; `act(name, when)` is called before and after each call.

    What is named in `instead` is called in its place.
    """

    def __init__(self, inner: Any, act: Callable[[str, str], object] | None = None, **instead: Any) -> None:  # noqa: ANN401  store, folder, announcer
        self._inner = inner
        self._act = act or (lambda _name, _when: None)
        self._instead = instead

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever it has
        found = self._instead.get(name) or getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401  whatever it takes
            self._act(name, "before")
            answer = found(*arguments, **named)
            self._act(name, "after")
            return answer

        return call


def fail_at(name: str, when: str, times: int = 1) -> Callable[[str, str], None]:
    """For `Interrupted`: the store is away, so many times, before or after this call has had its effect."""
    left = [times]

    def act(at: str, then: str) -> None:
        if (at, then) == (name, when) and left[0]:
            left[0] -= 1
            raise StoreUnavailableError("it is away for a moment")

    return act


@contextmanager
def rig(bench: Bench, path: Path, **parts: Any) -> Iterator[Rig]:  # noqa: ANN401  any of the rig's arguments
    found = Rig(bench, path, **parts)
    try:
        yield found
    finally:
        found.close()

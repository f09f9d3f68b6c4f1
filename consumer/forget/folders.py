"""The folders that lie here: those that the store knows, and the configured one; and the others, for the receipt."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from consumer.forget.receipt import ReceiptBook
from consumer.forget.traces import owned_files, temporary_files
from projections.errors import OperatorError
from projections.profile_key import ProfileKey, bucket_of
from projections.projection import Projection
from projections.store.protocol import Store
from snapshot.announce.announcement import Announcer
from snapshot.cli.options import FileOptions
from snapshot.files.folder import ProfileFolder
from snapshot.files.marker import BlockedInMarker, find_marker
from snapshot.files.places import KnownFolder, known_folders
from snapshot.flush.flusher import Flusher
from snapshot.flush.unannounced import UnannouncedJournal
from snapshot.runtime.metrics import NoMetrics


class FoldersHere:
    """All folders of profiles, as far as they concern one user. A folder is where its marker says that it is.

    Everything raises StoreUnavailableError; OperatorError where the marker of the configured one can't be read.
    """

    def __init__(self, store: Store, files: FileOptions, user_id: int, stack: ExitStack) -> None:
        self._store = store
        self._user = user_id
        self._here: list[ProfileFolder] = []
        self.flushed: set[ProfileKey] = set()
        """The profiles whose ends were announced from a folder."""
        known = known_folders(store)
        own = find_marker(files.profiles, files.disk)
        found = {} if own is None else {own.id: (files.profiles, own)}
        for path in (Path(one.place.path) for one in known if one.place.path):
            with suppress(OperatorError):  # one that can't be read from here is named as lying elsewhere
                if identity := find_marker(path, files.disk):
                    found[identity.id] = path, identity
        for path, identity in found.values():
            folder = ProfileFolder(path, identity, files.disk)
            stack.callback(folder.close)
            self._here.append(folder)
        self._known = {one.folder.id for one in known}
        self._elsewhere: list[KnownFolder] = [one for one in known if one.folder.id not in found]
        others = [Path(one.place.storage) for one in known if one.folder.id in found and one.place.storage]
        self.storages = list({path.absolute(): path for path in (files.storage_dir, *others)}.values())
        """The storage folders that lie here."""
        self._files = {folder.path: _files(folder, user_id) for folder in self._here}

    def keys(self) -> set[ProfileKey]:
        """The profiles of which files lie here."""
        return {key for files in self._files.values() for key in files.values() if key is not None}

    def block(self, floor: int, book: ReceiptBook) -> None:
        """Let the folders remember that the user is blocked, so that a store that is lost does not end it."""
        for folder in self._here:
            marker = BlockedInMarker(folder.path, folder.disk)
            try:
                marker.put(marker.blocks() | {self._user: floor})
            except OSError as error:
                book.failed("the note that the user is blocked can't be written", folder.path, error)

    def blocked(self) -> int | None:
        """The revision floor of the user, where any of them remembers that they are blocked."""
        found = [BlockedInMarker(folder.path, folder.disk).blocks().get(self._user) for folder in self._here]
        return max((floor for floor in found if floor is not None), default=None)

    def unblock(self) -> None:
        """Let them forget it. Raises OSError."""
        for folder in self._here:
            marker = BlockedInMarker(folder.path, folder.disk)
            marker.put({user: floor for user, floor in marker.blocks().items() if user != self._user})

    def flush(
        self,
        keys: set[ProfileKey],
        projection: Projection,
        announcer: Announcer,
        book: ReceiptBook,
        pause: Callable[[], bool],
    ) -> None:
        """Flush until the ends of these profiles are settled in the folders that lie here, by whomever."""
        for folder in self._here:
            mine = _in_scope(folder, keys)
            if folder.identity.id not in self._known or not mine:
                continue
            flusher = Flusher(projection, folder, announcer, NoMetrics())
            while any(self._store.pending(folder.identity.id, mine)):
                claims = flusher.flush([bucket_of(self._user)]).claims
                if not claims and not pause():
                    why = flusher.trouble or "another process holds its claim"
                    book.failed("the end of a profile could not be flushed", folder.path, TimeoutError(why))
                    break
            else:
                self.flushed.update(mine)

    def clean(self, keys: set[ProfileKey], book: ReceiptBook) -> None:
        """Remove what the flush left of files, notes and temporary files; only what is ours."""
        for folder in self._here:
            try:
                journal = UnannouncedJournal(folder.path, folder.disk)
                errors = folder.write(dict.fromkeys(_in_scope(folder, keys)), noted=journal)
                for key, error in errors.items():
                    if folder.owned(folder.name(key)) is not None:
                        book.failed("file", folder.place(key), error)
                book.removed("notes of unannounced files", folder.path, journal.forget(self._user))
                waiting = list(temporary_files(folder, self._user))
                for path in waiting:
                    folder.disk.remove(path)
                book.removed("temporary files", folder.path, len(waiting))
            except OSError as error:
                book.failed("files", folder.path, error)
            left = _files(folder, self._user)
            for name, owner in self._files[folder.path].items():
                if owner is not None and name not in left:
                    book.removed("file", folder.path / name, 1)

    def waits_elsewhere(self, keys: set[ProfileKey]) -> bool:
        """Whether a folder that doesn't lie here has something to do still."""
        return any(self._waits(one, keys) for one in self._elsewhere)

    def _waits(self, one: KnownFolder, keys: set[ProfileKey]) -> bool:
        mine = [key for key in keys if one.folder.group_slug in (None, key.group_slug)]
        return any(self._store.pending(one.folder.id, sorted(mine)))

    def remaining(self, keys: set[ProfileKey], book: ReceiptBook) -> None:
        """Say what remains in the folders, and of the others."""
        for folder in self._here:
            for name, key in _files(folder, self._user).items():
                if key is None:
                    book.remains("a file that is not provably ours", folder.path / name, "look at it, and remove it")
        for one in self._elsewhere:
            where = f"folder {one.folder.id}, {one.place}"
            if self._waits(one, keys):
                ends = "they are removed when a consumer or a rebuild next runs there; run forget again after that"
                book.remains("files, and what its queue in the store names", where, ends)
            storage = one.place.storage or "its storage folder"
            book.remains("lines about the user", f"{storage}, {where}", "run forget there as well")


def _files(folder: ProfileFolder, user_id: int) -> dict[str, ProfileKey | None]:
    try:
        return owned_files(folder, user_id)
    except OSError:
        return {}


def _in_scope(folder: ProfileFolder, keys: set[ProfileKey]) -> list[ProfileKey]:
    slug = folder.identity.group_slug
    return sorted(key for key in keys if slug in (None, key.group_slug))

"""Where the folders lie that the store knows: it keeps their ids, and a document for each that says where that is."""

import secrets
import socket
from pathlib import Path
from typing import NamedTuple

import msgspec

from projections.decoding import DecodingError, JsonDecoder
from projections.store.protocol import Folder, Store
from snapshot.files.folder import ProfileFolder

_SECONDS = 10.0


class FolderPlace(msgspec.Struct, frozen=True):
    """Where a folder was when something was last opened to write there, and the storage folder of what did.

    Empty where an older version did, or where a path is not UTF-8.
    """

    host: str = ""
    path: str = ""
    storage: str = ""

    def __str__(self) -> str:
        return f"{self.path} on {self.host}" if self.path else "an unknown place"


class KnownFolder(NamedTuple):
    """A folder that the store knows."""

    folder: Folder
    place: FolderPlace


_decode = JsonDecoder(FolderPlace).decode


def note_place(store: Store, folder: ProfileFolder, storage: Path) -> None:
    """Keep in the store where this folder lies, and the storage folder. Raises StoreUnavailableError."""
    name, token = _document(folder.identity), secrets.token_hex(8)
    host = socket.gethostname()
    try:
        content = msgspec.json.encode(FolderPlace(host, str(folder.path.absolute()), str(storage.absolute())))
    except UnicodeEncodeError:
        content = msgspec.json.encode(FolderPlace(host))
    if store.document(name) != content and store.lease(name, token, _SECONDS):
        store.put_document(name, token, content)
        store.release(name, token)


def known_folders(store: Store) -> list[KnownFolder]:
    """All folders that the store knows. Raises StoreUnavailableError."""
    return [KnownFolder(folder, _place(store.document(_document(folder)))) for folder in store.folders()]


def _document(folder: Folder) -> str:
    return f"folder-{folder.id}"


def _place(content: bytes | None) -> FolderPlace:
    try:
        return FolderPlace() if content is None else _decode(content)
    except DecodingError:
        return FolderPlace()

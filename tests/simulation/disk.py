"""A disk in memory, as `snapshot.files.disk.Disk`: it fails, it is full, and others write on it."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

from simulation.processes import Process

PROFILES = ".json"


class Files:
    """What lies on the disk. `changed` is called where a file named like a profile was replaced or removed."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.modified: dict[str, float] = {}
        self.folders: set[str] = set()
        self.failing: int | None = None
        """The errno of all writing, at present."""
        self.changed: Callable[[str, bytes | None, str], None] = lambda _path, _content, _who: None

    def profiles(self, folder: str) -> dict[str, bytes]:
        """By name, what lies in a folder under the name of a profile."""
        start = f"{folder}/"
        return {
            path[len(start) :]: content
            for path, content in self.contents.items()
            if path.startswith(start) and path.endswith(PROFILES) and "/" not in path[len(start) :]
        }


class Disk:
    """One process' view of the disk."""

    FEW = 32
    CAN_FLUSH_ALL = True

    def __init__(self, files: Files, process: Process) -> None:
        self._files = files
        self._process = process

    def token(self) -> str:
        return self._process.token()

    def _to_read(self, what: str, path: str) -> bytes:
        self._process.call(what)
        content = self._files.contents.get(path)
        if content is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return content

    def _to_write(self, what: str) -> dict[str, bytes]:
        self._process.call(what)
        if self._files.failing is not None:
            raise OSError(self._files.failing, os.strerror(self._files.failing))
        return self._files.contents

    def read(self, path: str) -> bytes:
        return self._to_read(f"reads {path}", path)

    def write_new(self, path: str, content: bytes, *, like: str | None = None) -> None:  # noqa: ARG002 - no modes here
        contents = self._to_write(f"writes {path}")
        if path.rpartition("/")[0] not in self._files.folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if path in contents:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        contents[path] = content
        self._files.modified[path] = self._process.now()

    def move(self, path: str | None, place: str) -> OSError | None:
        try:
            if path is None:
                self.remove(place)
            else:
                self.replace(path, place)
        except OSError as error:
            return error
        return None

    def replace(self, path: str, place: str) -> None:
        contents = self._to_write(f"moves to {place}")
        if path not in contents:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        contents[place] = contents.pop(path)
        self._note(place, contents[place])

    def remove(self, path: str) -> None:
        if self._to_write(f"removes {path}").pop(path, None) is not None:
            self._note(path, None)

    def _note(self, path: str, content: bytes | None) -> None:
        self._files.modified[path] = self._process.now()
        if path.endswith(PROFILES):
            self._files.changed(path, content, self._process.name)

    def make_folder(self, path: str, *, parents: bool = False) -> None:  # noqa: ARG002 - all folders are there
        self._to_write(f"makes {path}")
        self._files.folders.add(path)

    def names(self, folder: str) -> Iterator[str]:
        self._process.call(f"lists {folder}")
        if folder not in self._files.folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
        start = f"{folder}/"
        found = [path[len(start) :] for path in self._files.contents if path.startswith(start)]
        return iter([name for name in found if "/" not in name])

    def is_file(self, path: str) -> bool:
        self._process.call(f"looks for {path}")
        return path in self._files.contents

    def is_folder(self, path: str) -> bool:
        self._process.call(f"looks for {path}")
        return path in self._files.folders

    def exists(self, path: str) -> bool:
        return self.is_file(path) or path in self._files.folders

    def modified(self, path: str) -> float:
        self._to_read(f"looks at {path}", path)
        return self._files.modified.get(path, 0.0)

    def flush(self, path: str) -> None:
        self._to_write(f"flushes {path}")

    def flush_together(self, folder: str, paths: Sequence[str]) -> None:  # noqa: ARG002 - one call for all
        self._to_write(f"flushes {folder}")


class Inline(Executor):
    """Writers that take turns."""

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any], **_: Any) -> Iterator[Any]:  # noqa: ANN401 - the library's
        return map(fn, *iterables)

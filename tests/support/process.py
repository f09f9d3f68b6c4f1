"""A server's process: started in a group of its own, ended by id, never left behind."""

import random
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class ServerStartError(RuntimeError):
    """A server did not come up; the text holds the end of its log."""


def free_port() -> int:
    """A free TCP port on the loopback, below the range from which the kernel picks ports for outgoing connections.

    So nobody takes it by chance while a test has stopped its server.
    """
    while True:
        port = random.randint(20000, 32000)  # noqa: S311  no secret is made of it
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_until(ready: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Ask every 20 ms until `ready()`; a TimeoutError that names `what` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


class Process:
    """One child process with its log; it ends with the test run, even where that is killed."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        user: str | None = None,
        cwd: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        guard = ["setpriv", "--pdeathsig", "KILL", "--"] if _parent_is_watchable() else []
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [*guard, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=cwd,
                env=env,
                user=user,
                group=user and _group_of(user),
                extra_groups=[] if user else None,
            )
        self.pid: int = self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._popen.poll()

    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens where it has ended."""
        self._popen.send_signal(number)

    def wait_ready(self, ready: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
        """Wait until `ready()`; a process that ends before or takes longer is a ServerStartError with its log's end."""

        def up_or_ended() -> bool:
            return not self.running or ready()

        try:
            wait_until(up_or_ended, what, seconds)
        except BaseException as error:
            self.kill()
            raise ServerStartError(f"{what} did not come up ({error!r}): {self.tail()}") from error
        if not self.running:
            raise ServerStartError(f"{what} ended with code {self._popen.returncode}: {self.tail()}")

    def stop(self, seconds: float = 15.0) -> None:
        """Ask it to end; kill it if it doesn't."""
        if self.running:
            self._popen.terminate()
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """The same as `kill -9`."""
        self._popen.kill()
        self._popen.wait()

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


def _parent_is_watchable() -> bool:
    """Whether the child may ask the kernel to end with us: that follows the *thread* that started it."""
    return shutil.which("setpriv") is not None and threading.current_thread() is threading.main_thread()


def _group_of(user: str) -> int:
    import pwd  # noqa: PLC0415  not there on every system, and only root needs it

    return pwd.getpwnam(user).pw_gid

"""What is different from one run to the next, beside the faults: decided by the seed and by what the machine allows."""

import functools
import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Literal, NamedTuple

Mode = Literal["kafka", "embedded"]

LIBFAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


class Traits(NamedTuple):
    """The world of one seed."""

    mode: Mode
    postgres: bool
    wal: bool
    """SQLite in WAL mode."""
    confirmed: bool
    """The daemons run with --prune-all: nothing is ever blocked, and nobody has to help."""
    given_redis: bool
    """A Redis of its own behind a proxy, not the private one."""
    clocks: bool
    """Processes run under libfaketime."""
    small_disk: bool
    """The profiles lie on a tmpfs."""
    small_storage: bool
    """And the store too, where it is the private one."""
    nightly: bool
    """A rebuild every minute, by the daemon."""
    strangers: bool
    """Other people's files lie among the profiles."""
    odd: bool
    """Values that no column should hold are written too: SQLite takes them."""
    scoped: bool
    """One more consumer, for one group, with a folder of its own."""


def traits(seed: int, mode: Mode) -> Traits:
    """The same seed gives the same, but for what this machine can't do."""

    def draw(name: str, share: float = 0.5) -> bool:
        return random.Random(f"{seed}-{name}").random() < share  # noqa: S311  no secret is made of it

    given = mode == "kafka" or draw("given_redis")
    return Traits(
        mode=mode,
        postgres=draw("postgres"),
        wal=draw("wal") and not draw("postgres"),
        confirmed=draw("confirmed"),
        given_redis=given,
        # A private Redis shares libfaketime's semaphore with who started it, and hangs where that one is killed.
        clocks=draw("clocks", 0.3) and LIBFAKETIME.exists() and given,
        small_disk=draw("small_disk") and can_mount(),
        small_storage=draw("small_storage") and not given,
        nightly=draw("nightly", 0.25),
        strangers=draw("strangers"),
        odd=draw("odd", 0.4) and not draw("postgres"),
        scoped=draw("scoped", 0.3),
    )


@functools.cache
def can_mount() -> bool:
    """Whether a tmpfs can be mounted here: by root, and not in every container. Tried once."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    with tempfile.TemporaryDirectory(prefix="sis-chaos-") as folder:
        done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=False, capture_output=True)
        if done.returncode == 0:
            subprocess.run(["umount", folder], check=True)
    return done.returncode == 0

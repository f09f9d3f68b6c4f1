"""Faults of the disk, of the folder and the clock, and of who else runs commands."""

import os
import shutil
import subprocess
from pathlib import Path

from chaos.expectation import profile_paths
from chaos.faults.base import Fault
from chaos.world import SCOPE, World

_BALLAST = "ballast"


class DiskFull(Fault):
    """Not a byte is left where the profiles lie, and perhaps the private store."""

    weight = 5
    lasts = (1.0, 10.0)
    holds = frozenset({"disk"})

    @classmethod
    def fits(cls, world: World) -> bool:
        return world.traits.small_disk

    def begin(self) -> None:
        with (self.world.disk / _BALLAST).open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 65_536)
            except OSError as error:
                self.facts["reason"] = str(error)

    def end(self) -> None:
        (self.world.disk / _BALLAST).unlink()


class FolderReadOnly(Fault):
    """Nothing may be made or removed where the profiles lie; root is refused too."""

    weight = 4
    lasts = (1.0, 10.0)
    holds = frozenset({"disk"})

    @classmethod
    def fits(cls, world: World) -> bool:
        return world is not None and os.geteuid() == 0 and shutil.which("chattr") is not None

    def begin(self) -> None:
        done = subprocess.run(["chattr", "+i", self.world.profiles], check=False, capture_output=True, text=True)
        self.facts["answer"] = done.stderr.strip() or "done"

    def end(self) -> None:
        subprocess.run(["chattr", "-i", self.world.profiles], check=False, capture_output=True)


class FilesTampered(Fault):
    """A person removes a profile, cuts one short, and puts an older one back.

    Where the store is lost as well, nobody knows any more that these were ours, and were announced.
    """

    destroys = "files"
    weight = 3
    lasts = (0.5, 8.0)
    holds = frozenset({"disk"})
    troubles = False

    def begin(self) -> None:
        self._older = {path: path.read_bytes() for path in profile_paths(self.world.profiles)}

    def end(self) -> None:
        paths = [path for path in self._older if path.is_file()]
        drawn = self.dice.sample(paths, min(3, len(paths)))
        self.facts["files"] = [path.name for path in drawn]
        for path, disturb in zip(drawn, (self._remove, self._cut, self._put_back), strict=False):
            disturb(path)

    def _remove(self, path: Path) -> None:
        path.unlink()

    def _cut(self, path: Path) -> None:
        path.write_bytes(self._older[path][:100])

    def _put_back(self, path: Path) -> None:
        path.write_bytes(self._older[path])


class FolderRestored(FilesTampered):
    """All profiles are put back as a backup had them."""

    weight = 2
    lasts = (3.0, 12.0)

    def end(self) -> None:
        for path in self._older:
            self._put_back(path)


class ClockStep(Fault):
    """The wall clock of our processes jumps, by less than what consumers refuse."""

    weight = 6
    lasts = (1.0, 15.0)
    holds = frozenset({"clock"})
    troubles = False

    @classmethod
    def fits(cls, world: World) -> bool:
        return world.traits.clocks

    def begin(self) -> None:
        self.facts["seconds"] = seconds = self.dice.choice([-100, -30, -5, 5, 30, 100])
        assert self.world.clock is not None
        self.world.clock.step(seconds)

    def end(self) -> None:
        assert self.world.clock is not None
        self.world.clock.step(0)


class RebuildInTheMiddle(Fault):
    """`snapshot-rebuild`, of one kind or another."""

    weight = 5
    lasts = (0.0, 0.1)
    troubles = False

    def begin(self) -> None:
        words, env = self.drawn()
        self.facts["words"] = words
        self._job = self.world.run("rebuild", words, env)

    def drawn(self) -> tuple[list[str], dict[str, str]]:
        words = ["snapshot-rebuild", "--all", "--lag-timeout", "10"]
        words += [flag for flag in ("--deep", "--dry-run") if self.dice.random() < 0.3]
        if self.world.traits.confirmed:
            words.append("--prune-all")
        if self.dice.random() < 0.3:  # a timer for one group has a folder of its own
            return words, {"SNAPSHOT_OUTPUT_DIR": str(self.world.scoped), "GROUP_SLUG": SCOPE}
        return words, {}


class RebuildKilled(RebuildInTheMiddle):
    weight = 4
    lasts = (0.5, 5.0)

    def end(self) -> None:
        self._job.kill()


FAULTS: tuple[type[Fault], ...] = (
    DiskFull,
    FolderReadOnly,
    FilesTampered,
    FolderRestored,
    ClockStep,
    RebuildInTheMiddle,
    RebuildKilled,
)

"""The storage folder, whoever makes it."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapshot.cli.options import FileOptions, StoreOptions
from snapshot.cli.resources import open_store


@pytest.fixture
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_usual_umask")
def test_the_private_redis_makes_no_folder_that_others_can_read(tmp_path: Path) -> None:
    """The relay and `snapshot-admin dead-letters` once made a storage folder with mode 0755."""
    files = FileOptions(storage_dir=tmp_path / "new" / "storage")
    with open_store(StoreOptions(), files):
        made = (files.storage_dir.parent, files.storage_dir, files.storage_dir / "redis")
        assert [stat.S_IMODE(folder.stat().st_mode) for folder in made] == [0o750, 0o750, 0o700]
        for file in made[2].rglob("*"):
            assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file

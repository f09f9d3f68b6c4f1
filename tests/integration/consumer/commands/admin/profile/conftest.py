"""What the commands that look at a profile are tried on."""

from pathlib import Path

import pytest

from support import community as community_


@pytest.fixture
def community(tmp_path: Path) -> community_.Community:
    return community_.create(tmp_path)

from pathlib import Path

import pytest

from projections.comments.groups import Groups
from projections.errors import OperatorError
from snapshot.cli.groups import refuse_unknown_group
from snapshot.files.folder import open_folder

NONE = Groups.from_rows([], [])


@pytest.mark.parametrize("made_for", [None, "oak"])
def test_a_group_that_nobody_knows_is_refused(tmp_path: Path, made_for: str | None) -> None:
    open_folder(tmp_path, made_for).close()
    with pytest.raises(OperatorError, match="there is no group 'elm'"):
        refuse_unknown_group("elm", NONE, tmp_path)


def test_a_group_whose_last_member_left_is_known_by_its_folder(tmp_path: Path) -> None:
    """Its files have to go."""
    open_folder(tmp_path, "elm").close()
    refuse_unknown_group("elm", NONE, tmp_path)

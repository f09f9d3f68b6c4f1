"""`snapshot-admin groups`: what the database and the store know of each group."""

from pathlib import Path

from support import community


def test_the_groups(tmp_path: Path) -> None:
    made = community.create(tmp_path)
    made.balloon.join(made.ben, "ash", "Ash\x1b[31m")
    elm = {"slug": "elm", "names": ["Elm"], "requests": [1], "members": 2, "profiles": 2, "comments": 2}
    oak = {"slug": "oak", "names": ["Oak"], "requests": [2], "members": 1, "profiles": 1, "comments": 1}
    ash = {"slug": "ash", "names": ["Ash\x1b[31m"], "requests": [], "members": 1, "profiles": 0, "comments": 0}
    assert made.admin_json("groups") == [ash, elm, oak]
    assert r"ash	Ash\x1b[31m	none	1	0	0" in made.admin("groups")

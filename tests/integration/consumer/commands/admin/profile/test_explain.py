"""`snapshot-admin explain`: the number of the store, its comments, and the reasons of the rest."""

from support.community import HOSTILE, LINK, Community


def test_the_comments_of_a_number(community: Community) -> None:
    ann = community.ann
    answer = community.admin_json("explain", ann, "link", "HTTPS://A.org", "--group-slug", "elm")
    assert (answer["counts"], answer["stored"], answer["value"]) == (1, 1, LINK)
    assert [(one["times"], one["reasons"]) for one in answer["comments"]] == [
        (1, ["quoted"]),
        (0, ["deleted 2024-06-01 09:00:03"]),
        (0, ["request 2 is of another group: oak"]),
    ]
    for number, value, count in (
        ("tag", "food", 1),
        ("reaction", "👍", 1),
        ("attachment", "photo.png", 1),
        ("count", "", 1),
        ("tag", "Food", 0),
    ):
        found = community.admin_json("explain", ann, number, *([value] if value else []), "--group-slug", "elm")
        assert (found["counts"], found["stored"]) == (count, count)
    lines = community.admin("explain", ann, "count", "--group-slug", "elm").splitlines()
    food = community.admin("explain", ann, "tag", "food", "--group-slug", "elm")
    assert food.startswith(f"user {ann} in elm: tag food counts 1, in 1 comment\n")
    nothing = community.admin("explain", ann, "tag", "nowhere", "--group-slug", "elm")
    assert "no comment has to do with it" in nothing
    assert lines[0] == f"user {ann} in elm: 1 comment counted"
    assert lines[1] == "comment\ttime (UTC)\trequest\ttimes\texcerpt"
    assert r"\x1b]0;owned\x07\u202e see" in lines[2]


def test_a_store_that_says_otherwise(community: Community) -> None:
    community.balloon.comment(community.ben, community.elm, "more")
    said = community.admin("explain", community.ben, "count", code=1)
    assert f"the store says 1: lag or drift, see `snapshot-admin diff {community.ben} --group-slug elm`" in said


def test_what_can_t_be_explained(community: Community) -> None:
    ann = community.ann
    assert "name one with --group-slug" in community.admin("explain", ann, "count", code=2)
    community.balloon.join(ann, HOSTILE, "Elm")
    assert r"theirs are: \x1b]0;owned\x07\u202e, elm, oak" in community.admin(
        "explain", ann, "count", "--group-slug", "ash", code=2
    )
    assert "has no profile and is in no group" in community.admin("explain", 99, "count", code=2)
    assert "tag takes a value" in community.admin("explain", ann, "tag", code=2)
    for number in ("tag", "link", "reaction", "attachment"):
        refused = community.admin("explain", ann, number, "\udcff", "--group-slug", "elm", code=2)
        assert refused == "'\\udcff' is no UTF-8 text: write the value as the profile has it\n"
    assert "is no link" in community.admin("explain", ann, "link", "a.org", code=2)
    assert "there is no store in" in community.admin("explain", ann, "count", "--storage-dir", "nowhere", code=2)

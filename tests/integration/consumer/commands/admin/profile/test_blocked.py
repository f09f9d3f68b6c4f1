"""What is said of a user who was forgotten although the database has comments of theirs."""

from support.community import Community


def test_that_a_user_is_blocked_is_said(community: Community) -> None:
    ann, ben = community.ann, community.ben
    community.admin("forget", ben, "--force")
    blocked = f"user {ben} is blocked by `forget --force`: `snapshot-admin forget {ben} --undo` ends that\n"
    for words in (("show", ben), ("show", ben, "--group-slug", "elm"), ("diff", ben), ("explain", ben, "count")):
        assert community.admin(*words, code=2) == blocked
    assert community.admin("wait", 4) == f"comment 4 is in no profile of this folder: {blocked}"
    assert blocked.startswith(community.admin_json("wait", 4)["block"])
    assert community.admin_json("wait", 1)["block"] is None
    assert "is blocked" not in community.admin("show", ann, "--group-slug", "ash", code=2)
    community.admin("forget", ben, "--undo")
    assert f"user {ben} has no profile and is in no group" in community.admin("show", ben, code=2)

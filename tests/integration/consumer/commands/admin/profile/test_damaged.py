"""A profile that can't be read in the store: each command says so in one line, with the fix."""

from typing import Any

from projections.codec import register_field, tag_field
from projections.profile_key import ProfileKey
from projections.store.keys import profile_key
from projections.store.protocol import HEAD
from projections.store.redis import embedded
from projections.store.redis.client import connect
from support.community import Community


def test_what_is_damaged_is_one_line(community: Community) -> None:
    key = ProfileKey(community.ann, "elm")
    explained = community.admin_json("explain", key.user_id, "count", "--group-slug", "elm")
    comment = explained["comments"][0]["comment_id"]
    with embedded.using(community.storage) as url:
        damaged: Any = dict.fromkeys((HEAD, register_field(comment), tag_field("food")), b"\x93damaged")
        with connect(url) as client:
            client.hset(profile_key(key), mapping=damaged)
    for name, *rest in (["show"], ["diff"], ["explain", "count"], ["explain", "tag", "food"]):
        said = community.admin(name, key.user_id, *rest, "--group-slug", key.group_slug, code=2)
        assert f"the profile {key.user_id}:elm in the store can't be read" in said
        assert f"`snapshot-rebuild --user {key.user_id}`" in said
    assert "can't be read" in community.admin("wait", comment, code=2)

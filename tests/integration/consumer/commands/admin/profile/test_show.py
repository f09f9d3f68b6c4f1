"""`snapshot-admin show`: the card of one profile."""

from projections.profile_key import ProfileKey
from snapshot.files.ownership import file_name
from support.community import LINK, Community


def test_the_card(community: Community) -> None:
    ann = community.ann
    card = community.admin_json("show", ann, "--group-slug", "elm")
    assert card["snapshot"]["top_links"] == [{"url": LINK, "domain": "a.org", "count": 1}]
    assert (card["months"], card["deleted"], card["file"]) == ({"2024-06": 1}, 1, "in step")
    said = community.admin("show", ann, "--group-slug", "elm")
    assert "1 comment counted, 1 deleted or gone; requests 1" in said
    assert "\n1\thttps://a.org/\n" in said
    assert r"\x1b]0;owned\x07\u202e" in said
    assert "reactions  👍 1\n" in said


def test_a_file_that_is_another_and_a_profile_that_is_none(community: Community) -> None:
    place = community.storage / "signal_profiles" / file_name(ProfileKey(community.ben, "elm"), None)
    place.write_bytes(b"{}")
    assert "file differs, hash" in community.admin("show", community.ben)
    assert "user 99 has no profile and is in no group" in community.admin("show", 99, code=2)
    assert "is no folder of profiles" in community.admin("show", 99, "--output-dir", "nowhere", code=2)


def test_where_no_file_should_be_another_program_s_may_lie(community: Community) -> None:
    community.balloon.soft_delete(4)
    community.catch_up()
    place = community.storage / "signal_profiles" / file_name(ProfileKey(community.ben, "elm"), None)
    place.write_bytes(b"{}")
    assert "file in step, hash none" in community.admin("show", community.ben)
    assert "no longer counts in" in community.admin("wait", 4, "--timeout", "0")

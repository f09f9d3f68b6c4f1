"""`snapshot-admin diff`: store, file and database side by side."""

import json

from projections.profile_key import ProfileKey
from snapshot.files.ownership import file_name
from support.community import Community


def test_all_agree(community: Community) -> None:
    found = community.admin_json("diff", community.ben)
    assert found["due"] is False
    assert {one["field"] for one in found["fields"]} >= {"message_count", "first_seen_at", "request_ids"}
    assert not any(one["differs"] for one in found["fields"])


def test_the_database_is_ahead_and_the_file_is_another(community: Community) -> None:
    community.balloon.comment(community.ben, community.elm, "(Reactions: Ann 👍)")
    place = community.storage / "signal_profiles" / file_name(ProfileKey(community.ben, "elm"), None)
    document = json.loads(place.read_text())
    place.write_text(json.dumps({**document, "message_count": 7}))
    fields = community.admin_json("diff", community.ben, code=1)["fields"]
    assert [(one["field"], one["store"], one["file"], one["database"]) for one in fields if one["differs"]] == [
        ("message_count", "1", "7", "2"),
        ("last_seen_at", "2024-06-01T09:00:05", "2024-06-01T09:00:05", "2024-06-01T09:00:06"),
        ("reaction_counts 👍", None, None, "1"),
    ]
    place.write_text("{}")
    said = community.admin("diff", community.ben, code=1)
    assert "no snapshot of this profile" in said
    assert "≠\tmessage_count\t1\t\t2\n" in said

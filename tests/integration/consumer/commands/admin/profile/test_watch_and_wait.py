"""`snapshot-admin watch` and `wait`: what comes, and until it is there."""

import json
from pathlib import Path

import pytest

from projections.profile_key import ProfileKey
from snapshot.files.ownership import file_name
from snapshot.kafka.settings import CLIENTS
from support.commands import Started
from support.community import Community, create


@pytest.mark.parametrize("where", ["file", *CLIENTS])
def test_what_was_written_is_waited_for_and_watched(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    kafka = {}
    if where != "file":
        kafka = {"KAFKA_BOOTSTRAP_SERVERS": request.getfixturevalue("fresh_kafka"), "KAFKA_CLIENT": where}
    made = create(tmp_path, **kafka)
    consumers = ["snapshot-consumer", *(["snapshot-relay"] if kafka else [])]
    running = [Started(name, env=made.env, log=tmp_path / name) for name in consumers]
    watch = Started("snapshot-admin", "watch", "--json", env=made.env, log=tmp_path / "watch")
    try:
        while not watch.said():
            made.balloon.comment(made.ben, made.elm, "(Reactions: Ann 👍)")
            comment = made.balloon.comment(made.ann, made.elm, "more")
            assert made.admin_json("wait", comment, "--timeout", "200")["missing"] == []
        assert made.admin_json("diff", made.ann, "--group-slug", "elm")["due"] is False
        status = made.admin_json("status", code=None)
        assert [one["program"] for one in status["processes"]] == sorted(consumers)
        assert status["database"]["followed"]
        made.balloon.soft_delete(comment)
        said = made.admin("wait", comment, "--timeout", "200")
        assert said == f"comment {comment} is deleted, and no longer counts in {made.ann}:elm\n"
        change = json.loads(watch.said().splitlines()[0])
        counts = next(one for one in change["fields"] if one["field"] == "message_count")
        assert int(counts["after"]) > int(counts["before"])
    finally:
        watch.kill()
        for one in running:
            one.terminate(60)  # the last one stops the private Redis


def test_what_is_not_there(community: Community) -> None:
    comment = community.balloon.comment(community.ben, community.elm, "more")
    said = community.admin("wait", comment, "--timeout", "0.2", code=1)
    assert "is not in the files after 0.2 s: 2:elm does not have it yet in the store" in said
    assert "the database has no comment 99" in community.admin("wait", 99, code=2)
    nowhere = community.balloon.comment(community.ben, community.balloon.add_request("Garden"), "more")
    assert "is in no profile of this folder" in community.admin("wait", nowhere)


def test_the_files_themselves_are_looked_at(community: Community) -> None:
    assert community.admin("wait", 4) == f"comment 4 is in {community.ben}:elm\n"
    place = community.storage / "signal_profiles" / file_name(ProfileKey(community.ben, "elm"), None)
    place.write_bytes(b"{}")
    assert f"the file of {community.ben}:elm differs" in community.admin("wait", 4, "--timeout", "0.2", code=1)
    place.unlink()
    said = community.admin("wait", 4, "--timeout", "0.2", code=1)
    fix = f"fix it with `snapshot-rebuild --user {community.ben}`"
    assert said == f"comment 4 is not in the files after 0.2 s: the file of {community.ben}:elm is missing: {fix}\n"


def test_a_deleted_comment_is_not_called_one_that_is_in(community: Community) -> None:
    assert community.admin("wait", 2) == f"comment 2 is deleted, and no longer counts in {community.ann}:elm\n"
    assert [community.admin_json("wait", one)["counts"] for one in (1, 2)] == [True, False]
    community.balloon.soft_delete(1)
    said = community.admin("wait", 1, "--timeout", "0.2", code=1)
    assert said.startswith(
        "comment 1 is deleted, and the files do not show that after 0.2 s: 1:elm does not have it yet"
    )

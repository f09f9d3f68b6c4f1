"""`snapshot-admin watch` and `wait`: what comes, and until it is there."""

import json
from pathlib import Path

import pytest

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
        assert f"comment {comment} is in {made.ann}:elm\n" in made.admin("wait", comment, "--timeout", "200")
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

"""What must be true at rest: files and announcements are a plain recount of the rows, written apart from the fold."""

from collections.abc import Mapping
from typing import Any

import msgspec
from simulation.database import Tables
from simulation.disk import Files
from simulation.topic import Announcements

from projections.profile_key import ProfileKey
from snapshot.files.ownership import file_name, owned
from snapshot.schema import SignalProfileSnapshot
from support.reference import PREFIX, reference_snapshots


def expected(tables: Tables) -> dict[ProfileKey, SignalProfileSnapshot]:
    """The snapshots that the rows give."""
    rows: dict[str, dict[str, Any]] = {
        "request_comments": {
            "columns": ["id", "user_id", "help_request_id", "body", "created_at", "deleted_at"],
            "rows": list(tables.comments.values()),
        },
        "help_requests": {"columns": ["id", "title"], "rows": list(tables.titles.items())},
        "user_attributes": {
            "columns": ["user_id", "key", "value"],
            "rows": [(user, PREFIX + slug, name) for (user, slug), name in tables.members.items()],
        },
        "comment_llm_analyses": {
            "columns": ["comment_id", "resource_tags", "request_tags", "tags", "recorded_at"],
            "rows": [one.row for one in tables.analyses.values()],
        },
    }
    return {
        ProfileKey(*key): SignalProfileSnapshot.from_dict(snapshot)
        for key, snapshot in reference_snapshots(rows).items()
    }


def wrong_files(
    right: Mapping[ProfileKey, SignalProfileSnapshot],
    files: Files,
    folder: str,
    group_slug: str | None,
    others: Mapping[str, bytes],
) -> list[str]:
    """What lies in a folder and should not, or the other way round; `others` are files that are not ours."""
    wanted = {
        file_name(key, group_slug): snapshot.file_bytes()
        for key, snapshot in right.items()
        if group_slug in (None, key.group_slug)
    }
    wanted.update({path.rpartition("/")[2]: content for path, content in others.items() if path.startswith(folder)})
    found = files.profiles(folder)
    return [
        f"{folder}/{name} is {_text(found.get(name))} and must be {_text(wanted.get(name))}"
        for name in sorted(wanted.keys() | found.keys())
        if wanted.get(name) != found.get(name)
        and (name in wanted or owned(found[name], name, group_slug) is not None)  # what is not ours is left there
    ]


def wrong_announcements(right: Mapping[ProfileKey, SignalProfileSnapshot], topic: Announcements) -> list[str]:
    """Profiles of which the last announcement, after compaction, says something else than the rows."""
    found = {key: one.snapshot for key, one in topic.last.items() if one.snapshot is not None}
    wanted = {key: one.to_dict() for key, one in right.items()}
    return [
        f"the last announcement of {key} says {_brief(found.get(key))} and must say {_brief(wanted.get(key))}"
        for key in sorted(wanted.keys() | found.keys())
        if wanted.get(key) != found.get(key)
    ]


def _text(content: bytes | None) -> str:
    if content is None:
        return "missing"
    try:
        return _brief(msgspec.json.decode(content))
    except msgspec.DecodeError:
        return repr(content)


def _brief(snapshot: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(snapshot, dict) or "message_count" not in snapshot:
        return repr(snapshot)
    count, links = snapshot["message_count"], [(one["url"], one["count"]) for one in snapshot["top_links"]]
    return f"{count} comments of requests {snapshot['request_ids']}, links {links}, tags {snapshot['top_tags']}"

"""The baseline: scan all rows, fold them with dicts, write the files; no pages, no memory limit, no flush to the disk.

    python -m benchmarks.programs.plain DATABASES OUT|- [PROCESSES]

A comment's body is read by `projections.comments.body`, as everywhere. Each process scans everything and folds its
share of the users, as in the figures of the peers' comparison. With `-` no files are written.
"""

import gc
import json
import multiprocessing
import sqlite3
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.whiteballoon import INSIGHTS_FILE, MAIN_FILE
from projections.comments import body as bodies
from projections.comments import labels, links
from projections.comments.groups import Groups

Counts = dict[str, list[Any]]


class Profile:
    """One profile's sums."""

    __slots__ = ("attachments", "count", "first", "last", "links", "reactions", "requests", "tags")

    def __init__(self, moment: str) -> None:
        self.count = 0
        self.first = self.last = moment
        self.links: Counts = {}
        self.tags: Counts = {}
        self.reactions: dict[str, int] = {}
        self.attachments: dict[str, int] = {}
        self.requests: set[int] = set()


def _note(counts: Counts, name: str, where: tuple[str, int, int], times: int) -> None:
    known = counts.get(name)
    if known is None:
        counts[name] = [times, where]
    else:
        known[0] += times
        known[1] = min(known[1], where)


def _scan(folder: Path, share: int, shares: int) -> dict[tuple[int, str], Profile]:
    main = sqlite3.connect(f"file:{folder / MAIN_FILE}?mode=ro", uri=True)
    insights = sqlite3.connect(f"file:{folder / INSIGHTS_FILE}?mode=ro", uri=True)
    groups = Groups.from_rows(
        main.execute("SELECT user_id, key, value FROM user_attributes ORDER BY id"),
        main.execute("SELECT id, title FROM help_requests"),
    )
    columns = "comment_id, resource_tags, request_tags, tags"
    analyses = {row[0]: row[1:] for row in insights.execute(f"SELECT {columns} FROM comment_llm_analyses")}  # noqa: S608 - ours
    columns = "id, user_id, help_request_id, body, created_at, deleted_at"
    profiles: dict[tuple[int, str], Profile] = {}
    for comment_id, user, request, body, moment, deleted in main.execute(f"SELECT {columns} FROM request_comments"):  # noqa: S608 - ours
        if deleted is not None or user % shares != share:
            continue
        for slug in groups.slugs(user, request):
            profile = profiles.get((user, slug))
            if profile is None:
                profile = profiles[user, slug] = Profile(moment)
            _fold(profile, comment_id, request, body, moment, analyses.get(comment_id))
    return profiles


def _fold(  # noqa: PLR0913, PLR0917 - a row
    profile: Profile, comment_id: int, request: int, body: str, moment: str, analysis: tuple[Any, ...] | None
) -> None:
    profile.count += 1
    profile.first = min(profile.first, moment)
    profile.last = max(profile.last, moment)
    profile.requests.add(request)
    message = bodies.read(body)
    for url, position, times in message.links:
        _note(profile.links, url, (moment, comment_id, position), times)
    for word, times in message.reactions:
        profile.reactions[word] = profile.reactions.get(word, 0) + times
    for kind, times in message.attachments:
        profile.attachments[kind] = profile.attachments.get(kind, 0) + times
    if analysis is not None:
        found = labels.labels(*map(labels.list_column, analysis))
        for position, label in enumerate(found):
            _note(profile.tags, label, (moment, comment_id, position), 1)


def _top(counts: Counts) -> list[tuple[str, int]]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1][0], item[1][1]))[:5]
    return [(name, times) for name, (times, _) in ranked]


def _write(out: Path, user: int, slug: str, profile: Profile) -> None:
    snapshot = {
        "user_id": user,
        "group_slug": slug,
        "message_count": profile.count,
        "first_seen_at": _time(profile.first),
        "last_seen_at": _time(profile.last),
        "top_links": [{"url": u, "domain": links.domain(u), "count": times} for u, times in _top(profile.links)],
        "top_tags": [{"label": label, "count": times} for label, times in _top(profile.tags)],
        "reaction_counts": profile.reactions,
        "attachment_counts": profile.attachments,
        "request_ids": sorted(profile.requests),
    }
    with open(f"{out}/{user}-{quote(slug)}.json", "w", encoding="utf-8") as file:  # noqa: PTH123 - the quickest way
        file.write(json.dumps(snapshot, sort_keys=True))


def _time(moment: str) -> str:
    return moment.replace(" ", "T").removesuffix(".000000")


def _share(folder: Path, out: Path | None, share: int, shares: int) -> None:
    gc.disable()
    profiles = _scan(folder, share, shares)
    if out is not None:
        for (user, slug), profile in profiles.items():
            _write(out, user, slug, profile)


def main() -> None:
    """Do it."""
    folder, shares = Path(sys.argv[1]), int(sys.argv[3]) if len(sys.argv) > 3 else 1  # noqa: PLR2004
    out = None if sys.argv[2] == "-" else Path(sys.argv[2])
    if out is not None:
        out.mkdir(parents=True)
    fork = multiprocessing.get_context("fork")
    others = [fork.Process(target=_share, args=(folder, out, share, shares)) for share in range(1, shares)]
    for other in others:
        other.start()
    _share(folder, out, 0, shares)
    for other in others:
        other.join()


if __name__ == "__main__":
    main()

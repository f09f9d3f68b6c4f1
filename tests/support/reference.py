"""Snapshots by the plainest reading of the rules: all rows in memory, no fold, no store, no registers.

The meaning of one comment comes from `projections.comments.body`; everything above it is written here once more, so
that the real way can be held against it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from projections.comments import body, labels, links

Rows = Mapping[str, Mapping[str, Any]]
Row = dict[str, Any]

PREFIX = "signal_import_group:"
TOP_N = 5


def table(rows: Rows, name: str) -> list[Row]:
    """One table's rows as dicts."""
    columns = rows[name]["columns"]
    return [dict(zip(columns, row, strict=True)) for row in rows[name]["rows"]]


def reference_snapshots(rows: Rows) -> dict[tuple[int, str], dict[str, Any]]:
    """The snapshot of each (user id, group slug), as `to_dict` gives it, from rows as `wb_rows.json.gz` holds them."""
    comments: dict[tuple[int, str], list[Row]] = defaultdict(list)
    groups = _groups(rows)
    for comment in table(rows, "request_comments"):
        if comment["deleted_at"] is None:
            for slug in groups.get((comment["user_id"], comment["help_request_id"]), ()):
                comments[comment["user_id"], slug].append(comment)
    analyses = {row["comment_id"]: row for row in table(rows, "comment_llm_analyses")}
    return {key: _snapshot(*key, counted, analyses) for key, counted in comments.items()}


def _groups(rows: Rows) -> dict[tuple[int, int], set[str]]:
    """(user id, request id) -> slugs of the groups for which that user's comments on that request count."""
    titled: dict[str | None, list[int]] = defaultdict(list)
    for request in table(rows, "help_requests"):
        titled[request["title"]].append(request["id"])
    slugs: dict[tuple[int, int], set[str]] = defaultdict(set)
    for attribute in table(rows, "user_attributes"):
        slug = attribute["key"][len(PREFIX) :]
        if attribute["key"].startswith(PREFIX) and slug:
            name = (attribute["value"] or "").strip() or slug
            for request_id in titled[f"[Signal] {name}"]:
                slugs[attribute["user_id"], request_id].add(slug)
    return slugs


def _snapshot(user_id: int, slug: str, comments: list[Row], analyses: Mapping[int, Row]) -> dict[str, Any]:
    comments = sorted(comments, key=lambda row: (_time(row), row["id"]))
    messages = [body.read(row["body"]) for row in comments]
    urls = [url for read in messages for link, _, count in read.links for url in [link] * count]
    tags = [label for row in comments for label in _labels(analyses.get(row["id"]))]
    return {
        "user_id": user_id,
        "group_slug": slug,
        "message_count": len(comments),
        "first_seen_at": _time(comments[0]).isoformat(),
        "last_seen_at": _time(comments[-1]).isoformat(),
        "top_links": [{"url": url, "domain": links.domain(url), "count": count} for url, count in _top(urls)],
        "top_tags": [{"label": label, "count": count} for label, count in _top(tags)],
        "reaction_counts": _summed(read.reactions for read in messages),
        "attachment_counts": _summed(read.attachments for read in messages),
        "request_ids": sorted({row["help_request_id"] for row in comments}),
    }


def _time(comment: Row) -> datetime:
    return datetime.fromisoformat(comment["created_at"])


def _labels(analysis: Row | None) -> tuple[str, ...]:
    if analysis is None:
        return ()
    resource, request, tags = (labels.list_column(analysis[name]) for name in ("resource_tags", "request_tags", "tags"))
    return labels.labels(resource, request, tags)


def _top(items: list[str]) -> list[tuple[str, int]]:
    """The most frequent; a Counter keeps first appearance and its sort is stable."""
    return Counter(items).most_common(None)[:TOP_N]


def _summed(counts: Iterable[tuple[tuple[str, int], ...]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for pairs in counts:
        total.update(dict(pairs))
    return dict(sorted(total.items()))

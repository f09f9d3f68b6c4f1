"""The pages. Each reads what it shows when it is asked; only the status is looked at for all together."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from consumer.views.card import read_card
from consumer.views.change_history import changes_of
from consumer.views.explanation import explain_number, question_of
from consumer.views.group_summaries import stored_counts, summaries
from consumer.views.sides import compare
from consumer.web.charts import HEIGHT, WIDTH, bars, line_charts
from consumer.web.live.directory import FoundProfile
from consumer.web.live.live import Live
from consumer.web.rendering import render
from consumer.web.requests import asked_key, asked_kind, asked_number, live_of, no_profile
from projections.comments.explain import Counted
from projections.errors import OperatorError
from projections.profile_key import ProfileKey
from projections.store.protocol import Store
from snapshot.build import build
from snapshot.cli.read_only import block_of, open_database, open_existing_folder, read_profile
from snapshot.cli.resources import ANNOUNCEMENTS

_PROFILES, _COMMENTS, _MOST_COMMENTS, _CHANGES = 50, 50, 5_000, 50
_SORTS: dict[str, Callable[[FoundProfile], Any]] = {
    "count": lambda one: (-one.comments, one.key),
    "last": lambda one: (-one.last_seen_at.timestamp(), one.key),
    "user": lambda one: one.key,
}
_LONG = 1_000
_FIELDS = {
    Counted.LINK: ("top_links", "url"),
    Counted.TAG: ("top_tags", "label"),
    Counted.REACTION: ("reaction_counts", ""),
    Counted.ATTACHMENT: ("attachment_counts", ""),
}


def status(request: Request) -> Response:
    """What runs, what is behind, what fails, what is blocked."""
    live = live_of(request)
    sampler = live.sampler
    sampler.wait()
    charts = line_charts(list(sampler.samples), time.time())
    found = sampler.status
    return render(
        request,
        "status.html",
        status=found,
        trouble=None if found else sampler.trouble or "the first look is not done yet",
        charts=charts,
        width=WIDTH,
        height=HEIGHT,
        looked_at=time.strftime("%H:%M:%S", time.gmtime(sampler.looked_at)),
        now=time.time(),
        follower=live.follower.trouble,
    )


def profiles(request: Request) -> Response:
    """All profiles, or those that were searched for."""
    directory = live_of(request).directory
    query, group = request.query_params.get("q", ""), request.query_params.get("group") or None
    sort = request.query_params.get("sort", "count")
    if sort not in _SORTS:
        raise HTTPException(400, f"sort is {sort[:20]!r}, and must be one of {', '.join(_SORTS)}")
    page = asked_number(request, "page", 1, 1_000_000)
    found = sorted(directory.find(query, group), key=_SORTS[sort])
    shown: list[FoundProfile] = found[(page - 1) * _PROFILES : page * _PROFILES]
    return render(
        request,
        "profiles.html",
        query=query,
        group=group,
        sort=sort,
        sorts=list(_SORTS),
        page=page,
        pages=max(1, -(-len(found) // _PROFILES)),
        total=len(found),
        entries=shown,
        most=max((one.comments for one in shown), default=1),
        groups=directory.groups(),
    )


def profile(request: Request) -> Response:
    """A profile's card."""
    live, key = live_of(request), asked_key(request)
    store = _require(live, key)
    with open_existing_folder(live.sources.place) as folder:
        card = read_card(store, folder, key)
    figures = [(kind, _figures(kind, card.snapshot)) for kind in _FIELDS] if card.snapshot else []
    return render(request, "profile.html", key=key, card=card, figures=figures, months=bars(card.months), height=HEIGHT)


def why(request: Request) -> Response:
    """The comments that make up a number, and those that don't count."""
    live, key, kind = live_of(request), asked_key(request), asked_kind(request)
    limit = asked_number(request, "limit", _COMMENTS, _MOST_COMMENTS)
    store = _require(live, key)
    with _refused():
        question = question_of(kind, _value(request, store, key, kind))
    with open_database(live.sources.database, live.sources.place, store) as rows:
        answer = explain_number(store, rows, rows.groups_of(key.user_id), key, question)
    return render(
        request,
        "why.html",
        key=key,
        answer=answer,
        counting=[one for one in answer.comments if one.times],
        not_counting=[one for one in answer.comments if one.reasons],
        limit=limit,
        most=_MOST_COMMENTS,
        digest=request.query_params.get("digest", ""),
    )


def change_history(request: Request) -> Response:
    """What changed of a profile, by the announcements that are kept."""
    live, key = live_of(request), asked_key(request)
    limit = asked_number(request, "limit", _CHANGES, _MOST_COMMENTS)
    _require(live, key)
    place = live.sources.place.storage_dir / ANNOUNCEMENTS
    found = changes_of(live.sources.kafka, place, key.user_id, key.group_slug)
    return render(request, "history.html", key=key, found=found, limit=limit, most=_MOST_COMMENTS)


def sides(request: Request) -> Response:
    """Store, file and database side by side."""
    live, key = live_of(request), asked_key(request)
    store = _require(live, key)
    with (
        open_existing_folder(live.sources.place) as folder,
        open_database(live.sources.database, live.sources.place, store) as rows,
    ):
        found = compare(store, folder, rows, rows.groups_of(key.user_id), key)
    return render(request, "sides.html", key=key, found=found)


def groups(request: Request) -> Response:
    """All groups."""
    live = live_of(request)
    store = live.store.get()
    with open_database(live.sources.database, live.sources.place, store) as rows:
        found = summaries(rows.groups(), stored_counts(store))
    return render(request, "groups.html", groups=found)


def changes(request: Request) -> Response:
    """What changed last; the page's script adds what comes."""
    live = live_of(request)
    recent = live.feed.recent(_CHANGES)
    return render(request, "changes.html", recent=recent, shown=_CHANGES, trouble=live.follower.trouble)


def _require(live: Live, key: ProfileKey) -> Store:
    """Give the store, which has the profile; 404 where it has not."""
    store = live.store.get()
    if key not in store.profiles(key.user_id, key.user_id):
        raise HTTPException(404, block_of(live.sources.place, store, key.user_id) or no_profile(key))
    return store


@contextmanager
def _refused() -> Iterator[None]:
    """What can't be asked is the asker's fault, no server's."""
    try:
        yield
    except OperatorError as error:
        raise HTTPException(400, str(error).partition(": see")[0]) from error


def _figures(kind: Counted, snapshot: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """Each value with its number, and its digest where it is too long for a link."""
    field, name = _FIELDS[kind]
    items = snapshot.get(field) or {}
    found = [(one[name], one["count"]) for one in items] if name else sorted(items.items(), key=lambda one: -one[1])
    return [(value, count, _digest(value) if _needs_digest(value) else "") for value, count in found]


def _value(request: Request, store: Store, key: ProfileKey, kind: Counted) -> str:
    """The value that is asked for: as such or, where it is too long for a link, by its digest."""
    digest = request.query_params.get("digest")
    if not digest:
        return request.query_params.get("value", "")
    snapshot = build(key, read_profile(store, key).head)
    for value, _, _ in _figures(kind, {} if snapshot is None else snapshot.to_dict()):
        if _digest(value) == digest:
            return value
    raise HTTPException(404, f"the profile no longer has this {kind.value} among its leading ones")


def _needs_digest(value: str) -> bool:
    """Whether no link can hold it."""
    return len(value) > _LONG or any("\ud800" <= one <= "\udfff" for one in value)


def _digest(value: str) -> str:
    return sha256(value.encode(errors="replace")).hexdigest()

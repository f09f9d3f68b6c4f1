"""The JSON API. `consumer.web.api.openapi` describes it."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from consumer.web.api.openapi import ProfilePage, ProfileSummary, document
from consumer.web.json_response import JsonResponse
from consumer.web.live.directory import FoundProfile
from consumer.web.live.feed import MOST_READERS
from consumer.web.rendering import failure, unreachable
from consumer.web.requests import asked_number, key_of, live_of, no_profile
from projections.profile_key import ProfileKey, bucket_of
from snapshot.cli.read_only import block_of, read_snapshot

PAGE, MOST_PAGE = 100, 1_000
_SEND_SECONDS = 60.0
"""A reader that takes nothing for so long is given up."""


def openapi(_request: Request) -> Response:
    """Describe this API."""
    return JsonResponse(document())


def status(request: Request) -> Response:
    """What `snapshot-admin status --json` says; 503 while the store is unreachable."""
    sampler = live_of(request).sampler
    sampler.wait()
    if sampler.status is None:
        return unreachable(request, sampler.trouble or "the first look is not done yet")
    return JsonResponse(sampler.status)


def profiles(request: Request) -> Response:
    """A page of profiles, by user and group."""
    given = request.query_params
    limit = asked_number(request, "limit", PAGE, MOST_PAGE)
    found = live_of(request).directory.find(given.get("q", ""), given.get("group") or None)
    if after := given.get("after"):
        last = _parse(after)
        found = [one for one in found if one.key > last]
    shown = found[:limit]
    following = f"{shown[-1].key.user_id}:{shown[-1].key.group_slug}" if len(found) > limit else None
    return JsonResponse(ProfilePage([_summary(one) for one in shown], following))


def profile(request: Request) -> Response:
    """A profile's snapshot, as its file has it; its hash is the ETag."""
    key = key_of(request.path_params["user"], request.path_params["slug"])
    live = live_of(request)
    store = live.store.get()
    state = store.bucket_states()[bucket_of(key.user_id)]
    if state is not None and state.recovery is not None:
        reason = f"the profile is not published until its recovery ends: {state.recovery.reason}"
        return unreachable(request, reason)
    snapshot = read_snapshot(store, key)
    if snapshot is None:
        return failure(request, 404, block_of(live.sources.place, store, key.user_id) or no_profile(key))
    headers = {"ETag": f'"{snapshot.snapshot_hash}"', "Cache-Control": "no-cache"}
    if matches(request.headers.get("if-none-match", ""), snapshot.snapshot_hash):
        return Response(status_code=304, headers=headers)
    return Response(snapshot.file_bytes(), headers=headers, media_type="application/json")


async def changes(request: Request) -> Response:
    """Changes as server-sent events, from now on or after `Last-Event-ID`."""
    feed = live_of(request).feed
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if request.method == "HEAD":
        return Response(headers=headers, media_type="text/event-stream")
    if feed.readers >= MOST_READERS:
        return unreachable(request, f"{MOST_READERS} readers follow the changes already")
    if not feed.started and (trouble := live_of(request).follower.trouble):
        return unreachable(request, trouble)
    after = request.headers.get("last-event-id") or request.query_params.get("after") or None
    return _EventStream(feed.stream(after), headers=headers, media_type="text/event-stream")


class _EventStream(StreamingResponse):
    async def stream_response(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self.body_iterator:
            # Without room for it, `send` waits until the reader has taken what came before.
            await asyncio.wait_for(
                send({"type": "http.response.body", "body": chunk, "more_body": True}), _SEND_SECONDS
            )
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def matches(header: str, digest: str) -> bool:
    """Whether an If-None-Match header has this hash.

    >>> matches('W/"aa", "bb"', "aa"), matches("*", "aa"), matches('"b"', "aa")
    (True, True, False)
    """
    tags = [one.strip().removeprefix("W/") for one in header.split(",")]
    return "*" in tags or f'"{digest}"' in tags


def _parse(after: str) -> ProfileKey:
    user, _, slug = after.partition(":")
    try:
        return key_of(user, slug)
    except HTTPException:
        text = f"after is {after[:100]!r}, and must be USER:GROUP, the `next` of the page before"
        raise HTTPException(400, text) from None


def _summary(one: FoundProfile) -> ProfileSummary:
    times = [time.isoformat() for time in (one.first_seen_at, one.last_seen_at)]
    return ProfileSummary(*one.key, one.comments, *times)

"""Memberships that match no request: nothing of them counts, and the log names each of them once a process."""

from collections import defaultdict

import structlog

from projections.comments.groups import TITLE_PREFIX, Groups

log = structlog.get_logger()

_NAMED = 20
_logged: set[tuple[int, str]] = set()


def log_unmatched(groups: Groups) -> None:
    """Name what was not named before, a line for each group."""
    found = defaultdict[tuple[str, str], list[int]](list)
    for user, slug in groups.unmatched():
        if (user, slug) not in _logged:
            _logged.add((user, slug))
            found[slug, groups.members[user][slug]].append(user)
    for (slug, name), users in sorted(found.items()):
        log.warning(
            "memberships match no request, so nothing of them counts; title a request so, or correct the group's name",
            group_slug=slug,
            title=f"{TITLE_PREFIX}{name}",
            memberships=len(users),
            users=users[:_NAMED],
        )

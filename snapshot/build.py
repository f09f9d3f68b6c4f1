"""From a profile's head to its snapshot. Pure."""

from datetime import datetime, timedelta

from projections.comments.links import domain
from projections.profile_key import ProfileKey
from projections.profiles.head import Head
from projections.profiles.ranking import TOP_N
from snapshot.schema import LinkStat, SignalProfileSnapshot, TagStat

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - times are UTC without a zone throughout


def build(key: ProfileKey, head: Head | None) -> SignalProfileSnapshot | None:
    """The snapshot that a recomputed head gives; None where no comment counts."""
    if head is None or head.count <= 0:
        return None
    first, last = head.first.kept[0], head.last.kept[0]
    return SignalProfileSnapshot(
        user_id=key.user_id,
        group_slug=key.group_slug,
        message_count=head.count,
        first_seen_at=_EPOCH + timedelta(microseconds=first[0]),
        last_seen_at=_EPOCH - timedelta(microseconds=last[0]),
        top_links=tuple(LinkStat(url, domain(url), -count) for count, _, _, _, url in head.links.leaders[:TOP_N]),
        top_tags=tuple(TagStat(label, -count) for count, _, _, _, label in head.tags.leaders[:TOP_N]),
        reaction_counts=head.reactions,
        attachment_counts=head.attachments,
        request_ids=tuple(sorted(head.requests)),
    )

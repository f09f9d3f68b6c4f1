"""What changed of a user's profiles and when, by the announcements that are still kept."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from consumer.views.changes import Change, when
from consumer.views.seen_profiles import SeenProfiles
from projections.errors import OperatorError
from snapshot.announce import file as announced_file
from snapshot.announce.announcement import Announcement
from snapshot.kafka.settings import KafkaSettings


class History(msgspec.Struct, frozen=True):
    """What is kept: since when of anybody (null: nothing), and the changes of this user, the oldest first."""

    place: str
    since: str | None
    changes: list[Change]


def changes_of(settings: KafkaSettings | None, path: Path, user_id: int, slug: str | None) -> History:
    """Read what is kept on Kafka, else in the file. Raises OperatorError.

    One that was announced again, or late, is passed over, as whoever follows them does.
    """
    since: str | None = None
    known, changes = SeenProfiles(), []
    for one in _kept(settings, path, user_id):
        since = min(since or when(one), when(one))
        if one.user_id == user_id and slug in {None, one.group_slug} and (found := known.change(one)) is not None:
            changes.append(found)
    where = f"Kafka {settings.bootstrap_servers}" if settings else str(path)
    return History(where, since, sorted(changes, key=lambda each: each.sequence))


def _kept(settings: KafkaSettings | None, path: Path, user_id: int) -> Iterator[Announcement]:
    if settings is not None:
        from consumer.kafka.announcements import kept  # noqa: PLC0415 - Kafka's client takes long to import

        return kept(settings)
    try:
        return iter(list(announced_file.kept(path, user_id)))
    except OSError as error:
        raise OperatorError(f"{path} can't be read ({error.strerror}): fix that and run again") from error

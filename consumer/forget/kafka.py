"""What Kafka keeps of a person: announcements, dead letters, and the events' bodies until their retention ends."""

from collections.abc import Collection, Mapping, Sequence

from consumer.dead_letters.dead_letters import dead_topic
from consumer.forget.receipt import ReceiptBook
from consumer.forget.traces import concerns_user
from consumer.kafka.dead_letters import KeptOnKafka
from consumer.kafka.topics import announced_slugs, configurations
from projections.comments.events import TOPICS
from projections.errors import OperatorError
from projections.masking import mask_urls
from projections.profile_key import ProfileKey
from snapshot.announce.announcement import SNAPSHOT_CHANGED, Announcement, Announcer
from snapshot.kafka.settings import KafkaSettings


class TopicTraces:
    """The topics of one Kafka; what it refuses stands in the receipt."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    def announced(self, user_id: int, book: ReceiptBook) -> set[ProfileKey]:
        """The profiles of which the last announcement is a snapshot."""
        try:
            return {ProfileKey(user_id, slug) for slug in announced_slugs(self._settings, user_id)}
        except OperatorError as error:
            book.failed("announcements", self._where(SNAPSHOT_CHANGED), error)
            return set()

    def announce_ends(self, keys: Sequence[ProfileKey], announcer: Announcer, sequence: int, book: ReceiptBook) -> None:
        """Announce that these profiles have no snapshot."""
        ends = [
            Announcement(
                user_id=key.user_id,
                group_slug=key.group_slug,
                snapshot=None,
                snapshot_hash=None,
                previous_hash=None,
                sequence=sequence,
                cause={"event": "", "comment_id": 0},
            )
            for key in keys
        ]
        for error in filter(None, announcer.announce(ends) if ends else ()):
            book.failed("announcements", self._where(SNAPSHOT_CHANGED), error)

    def drop_dead_letters(self, user_id: int, book: ReceiptBook) -> None:
        """Remove the dead letters about a user."""
        where = self._where(" and ".join(map(dead_topic, TOPICS)))
        try:
            book.removed("dead letters", where, KeptOnKafka(self._settings).drop(concerns_user(user_id)))
        except OperatorError as error:
            book.failed("dead letters", where, error)

    def remaining(self, keys: Collection[ProfileKey], book: ReceiptBook) -> None:
        """Say what remains: whatever was published, until Kafka deletes it."""
        try:
            found: Mapping[str, Mapping[str, str]] = configurations(self._settings)
        except OperatorError as error:
            book.failed("how long messages are kept", self._where("all topics"), error)
            found = {}
        for topic in TOPICS:
            kept = _sum(found.get(topic, {}), "retention.ms", "segment.ms")
            ends = "retention.ms, and segment.ms: a segment is deleted as a whole"
            book.remains("bodies of comments and tags", self._where(topic), ends, milliseconds=kept)
        if keys:
            kept = _sum(found.get(SNAPSHOT_CHANGED, {}), "max.compaction.lag.ms", "segment.ms")
            ends = "compaction: older records when their segment is compacted, the tombstones delete.retention.ms later"
            book.remains("announcements before the tombstones", self._where(SNAPSHOT_CHANGED), ends, milliseconds=kept)
            left = self.announced(next(iter(keys)).user_id, book) & set(keys)
            if book.receipt.complete:
                tombstones = "announcements (a tombstone is the last record of each profile)"
                book.removed(tombstones, self._where(SNAPSHOT_CHANGED), len(set(keys) - left))
            for key in left:
                last = ValueError(f"the last announcement of {key.user_id}:{key.group_slug} is a snapshot still")
                book.failed("announcements", self._where(SNAPSHOT_CHANGED), last)

    def _where(self, topic: str) -> str:
        return mask_urls(f"Kafka {self._settings.bootstrap_servers}, {topic}")


_UNLIMITED = 2**53
"""Milliseconds: Kafka's own word for no limit is 2^63 - 1, or -1."""


def _sum(configuration: Mapping[str, str], *names: str) -> int | None:
    """Add milliseconds up; None where any is unlimited or not known."""
    values = [configuration.get(name) or "" for name in names]
    if not all(value.isdigit() and int(value) < _UNLIMITED for value in values):
        return None
    return sum(map(int, values))

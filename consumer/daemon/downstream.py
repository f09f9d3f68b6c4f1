"""What downstream has, by the announcements that are still kept."""

from collections.abc import Callable, Iterable
from pathlib import Path

from consumer.process.liveness import calling
from projections.errors import OperatorError
from projections.profile_key import HIGHEST_ID, ProfileKey
from snapshot.announce import file as announced_file
from snapshot.announce.announcement import Announcement
from snapshot.files.folder import NO_FILE
from snapshot.kafka.settings import KafkaSettings


def announced_hashes(
    settings: KafkaSettings | None, path: Path, called: Callable[[], object] = lambda: None
) -> dict[ProfileKey, str | None]:
    """Read Kafka's topic, else the file: of each profile the hash that was announced last, NO_FILE for its end.

    None where that depends on who asks: a compacted topic keeps the order, downstream goes by the sequence. `called` is
    called while that takes long. Raises OperatorError.
    """
    try:
        return _last(
            calling(called, announced_file.everything(path)) if settings is None else _on_kafka(settings, called)
        )
    except OSError as error:
        raise OperatorError(f"{path} can't be read ({error.strerror}): fix that") from error


def _on_kafka(settings: KafkaSettings, called: Callable[[], object]) -> Iterable[Announcement]:
    from consumer.kafka.announcements import kept  # noqa: PLC0415 - Kafka's client takes long to import

    return kept(settings, called)


def _last(announcements: Iterable[Announcement]) -> dict[ProfileKey, str | None]:
    by_order, by_sequence = dict[ProfileKey, str](), dict[ProfileKey, tuple[int, str]]()
    for one in announcements:
        if not 0 < one.user_id <= HIGHEST_ID:
            continue
        key, found = ProfileKey(one.user_id, one.group_slug), one.snapshot_hash or NO_FILE
        by_order[key] = found
        if one.sequence >= by_sequence.get(key, (0, ""))[0]:
            by_sequence[key] = one.sequence, found
    return {key: found if found == by_sequence[key][1] else None for key, found in by_order.items()}

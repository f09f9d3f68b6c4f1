"""`snapshot-consumer` with a folder that keeps nothing, which is the peers' work: it announces, and writes no files.

What only files need goes as well: the journal of those that were not announced, the record of what they were written
from, their check. All else is the program as it is. Run by `benchmarks.measures.stream` as a process of its own.
"""

import sys
from contextlib import ExitStack
from functools import partial
from unittest.mock import patch

from consumer.commands.consumer import consumer
from snapshot.files.folder import NO_FILE, ProfileFolder
from snapshot.flush.epochs import FolderEpochs
from snapshot.flush.scrub import Scrub
from snapshot.flush.unannounced import UnannouncedJournal

DO_NOTHING: tuple[tuple[type, str, object], ...] = (
    (ProfileFolder, "write", {}),
    (ProfileFolder, "hash_on_disk", NO_FILE),
    (ProfileFolder, "lacks", False),
    (FolderEpochs, "note_writes", None),
    (UnannouncedJournal, "record", None),
    (Scrub, "step", None),
    (Scrub, "pending_buckets", ()),
)
"""Methods, and what they answer instead."""


def _answer(answer: object, *_arguments: object, **_named: object) -> object:
    return answer


def main() -> None:
    """Run it."""
    with ExitStack() as stack:
        for kind, name, answer in DO_NOTHING:
            stack.enter_context(patch.object(kind, name, partial(_answer, answer)))
        sys.argv[0] = "snapshot-consumer"
        consumer()


if __name__ == "__main__":
    main()

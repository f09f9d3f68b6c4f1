"""Which store a folder was written from: what notices a store that was lost while no process ran.

Without a broker nothing else could: the tail's document was lost with the store. The folder's record of epochs names
the instance of each bucket. A folder without one that has snapshots all the same was written from some store.
"""

import re

from projections.store.protocol import BucketState, Store
from projections.store.rollback import RollbackDetector
from snapshot.files.folder import ProfileFolder
from snapshot.flush.epochs import FolderEpochs

_EPOCH = re.compile("[0-9]{1,18}")


def expect_known_store(folder: ProfileFolder, store: Store, detector: RollbackDetector) -> None:
    """Let the detector take for lost what the folder was written from and is not there. Before the loop begins."""
    known = FolderEpochs(folder).known()
    if known:
        detector.expect({bucket: _state(*spelled.partition(":")[::2]) for bucket, spelled in known.items() if spelled})
    elif any(folder.owned(name) is not None for name in folder.names() if name.endswith(".json")):
        missing = [bucket for bucket, state in enumerate(store.bucket_states()) if state is None]
        detector.expect({bucket: _state("", "0") for bucket in missing})


def _state(instance_id: str, epoch: str) -> BucketState:
    known = int(epoch) if _EPOCH.fullmatch(epoch) else 0  # a damaged one is none
    return BucketState(instance_id, known, "", 0, {}, {}, None)

"""The epochs of a store's buckets."""

from projections.profile_key import BUCKETS
from projections.store.protocol import Store


def epoch(store: Store, bucket: int) -> int:
    state = store.bucket_states()[bucket]
    assert state is not None
    return state.epoch


def epochs(store: Store) -> list[int]:
    """All of them, as after a loss of all: each was raised."""
    found = [epoch(store, bucket) for bucket in range(BUCKETS)]
    assert 0 not in found
    return found


def recovered(store: Store, bucket: int) -> None:
    """Nothing is left of the bucket's recovery."""
    state = store.bucket_states()[bucket]
    assert state is not None
    assert store.recover(bucket, state, None)

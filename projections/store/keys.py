"""Buckets and every key of the store: the only module that spells a key.

A user's profiles lie in one of 64 buckets, by a fixed hash of the user id. The bucket is a hash tag (`{b17}`), so that
all keys of one call lie in one slot of a Redis Cluster.
"""

from projections.profile_key import ProfileKey, bucket_of, member

_PREFIX = "sis"


def _key(bucket: int, rest: str) -> str:
    return f"{_PREFIX}:{{b{bucket}}}:{rest}"


def state_key(bucket: int) -> str:
    """Hash: the bucket's state, under its older names: birth is the instance id, meaning the version of the rules.

    Fields: birth, epoch, meaning, writes, folders, healing (the recovery), `p:<partition>`, `t:<topic>` (its id).
    """
    return _key(bucket, "mark")


def index_key(bucket: int) -> str:
    """Sorted set of all profiles, by user id."""
    return _key(bucket, "profiles")


def profile_key(key: ProfileKey) -> str:
    """Hash: one profile."""
    return profile_prefix(bucket_of(key.user_id)) + member(key)


def profile_prefix(bucket: int) -> str:
    """Give what comes before the member in the keys of a bucket's profiles."""
    return _key(bucket, "p:")


def due_key(bucket: int, folder: str) -> str:
    """Sorted set of the profiles to flush into a folder, by the time (ms) when they are due."""
    return _key(bucket, f"due:{folder}")


def leases_key(bucket: int, folder: str) -> str:
    """Sorted set of claimed profiles, by the time (ms) when the claim ends."""
    return _key(bucket, f"leases:{folder}")


def tokens_key(bucket: int, folder: str) -> str:
    """Hash: the token of the claim."""
    return _key(bucket, f"tokens:{folder}")


def force_key(bucket: int, folder: str) -> str:
    """Hash: from when (ms) a profile's next claim is forced."""
    return _key(bucket, f"force:{folder}")


def settled_key(bucket: int, folder: str) -> str:
    """Hash: the snapshot hash of the file that lies in the folder; empty where the file was removed."""
    return _key(bucket, f"settled:{folder}")


def folder_keys(bucket: int, folder: str) -> list[str]:
    """All keys of one folder in one bucket that last: due, leases, tokens, force, settled."""
    return [make(bucket, folder) for make in (due_key, leases_key, tokens_key, force_key, settled_key)]


def claim_key(bucket: int, folder: str, token: str) -> str:
    """Set of what one claim took, so that a claim that is sent again gets the same; it ends with the lease."""
    return _key(bucket, f"claim:{folder}:{token}")


def announced_key(bucket: int) -> str:
    """Hash: the snapshot hash that was last announced; empty where that was the profile's end."""
    return _key(bucket, "announced")


def sequence_key(bucket: int) -> str:
    """Hash: the last sequence that was given to a reading of a profile."""
    return _key(bucket, "sequence")


def floors_key(bucket: int) -> str:
    """Hash: the revision floor of each user who was forgotten, by user id."""
    return _key(bucket, "floors")


def flushed_key() -> str:
    """Sorted set of the folders' ids, by the time (µs) when a flusher last was there."""
    return f"{_PREFIX}:{{folders}}:flushed"


def processes_key() -> str:
    """Hash: what each process says of itself, behind the times (µs) when it did and until when that is kept."""
    return f"{_PREFIX}:{{processes}}:descriptions"


def lease_key(name: str) -> str:
    """String: the token of who holds a named lease."""
    return f"{_PREFIX}:{{{name}}}:lease"


def document_key(name: str) -> str:
    """String: a small document that only the holder of the lease of that name may write."""
    return f"{_PREFIX}:{{{name}}}:document"

"""What may be tuned of a member of the consumer group, whichever client it uses."""

import msgspec


class SourceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds and numbers. `instance_id` makes the membership static (KAFKA_GROUP_INSTANCE_ID).

    A static member that restarts within `session_timeout` gets its partitions back without a rebalance, but others
    wait that long before they take over what it left by `close`.

    While at least `behind` messages wait, several polls of at most `max_records` make one batch: until it has
    `max_batch` messages or `max_batch_bytes`, or has taken `gather` seconds.
    """

    instance_id: str | None = None
    max_records: int = 10_000
    max_batch: int = 40_000
    max_batch_bytes: int = 2**24
    gather: float = 0.5
    behind: int = 1_000
    min_poll: float = 0.5
    session_timeout: float = 10.0
    heartbeat: float = 1.0
    max_poll_interval: float = 120.0
    metadata_age: float = 60.0
    stall_limit: float = 60.0
    request_timeout: float = 2.0

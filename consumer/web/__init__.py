"""The page of `snapshot-admin serve` and its JSON API: read-only, over what `consumer.views` computes."""

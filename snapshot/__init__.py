"""What is published: the snapshot and its hash, building, flushing, files, announcements, reconciling.

Knows nothing of Kafka's consumer side.
"""

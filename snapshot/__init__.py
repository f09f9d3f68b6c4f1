"""What is published: the snapshot and its hash, building, flushing, files, announcements, reconciling.

Knows nothing of Kafka's consumer side.
"""

from projections import __version__

__all__ = ["__version__"]

"""What runs all the time: sources, the loop, dead letters, the relay, the daemon that wires everything.

Knows nothing of how counting works.
"""

from projections import __version__

__all__ = ["__version__"]

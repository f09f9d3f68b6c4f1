"""The folder of snapshot files: names, atomic writes, and what belongs to it."""

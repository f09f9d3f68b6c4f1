"""The process behind `snapshot-consumer`: its parts wired, its threads, its schedule."""

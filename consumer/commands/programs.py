"""The entry points of this package's commands; see `snapshot.cli.start`."""

from snapshot.cli.start import start


def admin() -> None:
    """Run `snapshot-admin`."""
    start("consumer.commands.admin.admin", "admin")


def consumer() -> None:
    """Run `snapshot-consumer`."""
    start("consumer.commands.consumer", "consumer")


def relay() -> None:
    """Run `snapshot-relay`."""
    start("consumer.commands.relay", "relay")

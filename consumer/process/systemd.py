"""What systemd hears of this process (sd_notify(3)): that it is ready, alive, waiting or stopping."""

import os
import socket
from contextlib import suppress

READY, ALIVE, STOPPING = "READY=1", "WATCHDOG=1", "STOPPING=1"


def notify(*states: str) -> None:
    """Send states, each `NAME=value` on one line; nothing where no NOTIFY_SOCKET is set, or nobody listens there."""
    place = os.environ.get("NOTIFY_SOCKET")
    if not place:
        return
    address = f"\0{place[1:]}" if place.startswith("@") else place
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.setblocking(False)  # noqa: FBT003 - the socket's own signature
        sender.sendto("\n".join(states).encode(errors="replace"), address)

"""What happened when in one run: a line of JSON for each change of the world, and how many there were of each kind."""

import json
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path


class Timeline:
    """Written by several threads. Times are seconds since the run began, and the wall clock's, as in the logs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self._began = time.monotonic()
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self._began

    def note(self, what: str, **facts: object) -> None:
        """Write down that this happened, and count it."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"seconds": round(self.seconds, 2), "at": now, "what": what, **facts}
        with self._lock:
            self.counts[what] += 1
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")

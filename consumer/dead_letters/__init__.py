"""Messages that are no events: kept with the reason, and too many of them stop the daemon."""

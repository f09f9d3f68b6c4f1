"""From rows to events: what was published of each row, and with which revision."""

"""Rows against registers: what differs, whether that is drift, and the repair."""

"""Bytes under versions, in memory or in Redis; knows no meaning."""

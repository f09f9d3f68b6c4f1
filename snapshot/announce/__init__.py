"""Telling downstream what changed: on Kafka, or in a file of JSON lines."""

"""Connecting to Kafka and producing to it."""

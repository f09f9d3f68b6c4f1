"""Connecting to Kafka and producing to it, with either of two clients: `clients` chooses one, `producer` uses it."""

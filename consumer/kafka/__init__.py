"""Kafka as a source of events and as a place to look into; `clients` chooses between the rooms of the two clients."""

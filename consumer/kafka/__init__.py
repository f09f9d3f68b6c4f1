"""Kafka as a source of events: membership, topics, records, and what guards against stalls."""

"""From the database to Kafka: publishing events, and how far consumers have come."""

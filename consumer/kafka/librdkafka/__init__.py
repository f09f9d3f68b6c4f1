"""librdkafka, through confluent-kafka, as the client that consumes, looks up and creates."""

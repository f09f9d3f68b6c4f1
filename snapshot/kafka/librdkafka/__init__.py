"""librdkafka, through confluent-kafka, as the client that produces: the fast one, where it is installed."""

"""kafka-python as the client that produces: pure Python, always there."""

"""kafka-python as the client that consumes, looks up and creates: pure Python, always there."""

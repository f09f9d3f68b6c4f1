"""What a tail does once when it starts: fill its memory, verify the store, publish the history."""

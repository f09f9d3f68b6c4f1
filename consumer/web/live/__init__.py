"""What the page keeps while it runs: the open store, samples of the status, an index to search, the last changes."""

"""What is counted: events, the meaning of one comment, the fold, the store, and the history read from the database.

Knows nothing of Kafka, of files and of schedules.
"""

__version__ = "0.1.0"

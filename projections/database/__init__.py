"""WhiteBalloon's two databases, read and never written."""

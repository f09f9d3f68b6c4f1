"""What a process needs to run: logs, metrics, progress, standard streams."""

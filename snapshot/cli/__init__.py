"""What all commands share: options, the resources they open, the run log."""

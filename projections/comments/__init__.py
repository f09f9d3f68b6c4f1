"""What one comment says and where it counts; pure."""

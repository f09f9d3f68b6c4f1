"""What a profile counts: heads, rankings and the fold; pure."""

"""Looking at one profile: what it says, why, where it differs, and what becomes of it."""

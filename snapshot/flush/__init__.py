"""From changed profiles to files and announcements."""

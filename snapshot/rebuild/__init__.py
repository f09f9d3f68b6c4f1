"""`snapshot-rebuild`: every profile compared with the database, repaired and written."""

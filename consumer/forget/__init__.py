"""Forgetting a person: everything about them that this project keeps."""

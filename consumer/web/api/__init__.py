"""The JSON API beside the page, and its description."""

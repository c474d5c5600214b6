"""Finished clips: files in one folder, described by the JSON beside them."""

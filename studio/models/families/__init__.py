"""One file (or a file and its parts) a family of models."""

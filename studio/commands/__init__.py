"""The commands of `python -m studio`; each imports what it needs when it runs."""

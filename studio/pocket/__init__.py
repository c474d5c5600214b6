"""The embedded model: the drawn world it knows, how it is trained, how it is judged."""

"""A video generation studio: text, image and sound become video."""

__version__ = "0.1.0"

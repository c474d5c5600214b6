"""A video generation studio: text, image and sound become video."""

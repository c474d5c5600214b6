"""Pictures, sounds and clips as files: probed under limits, decoded as streams, published whole."""

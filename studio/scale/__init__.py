"""More than one machine or device: shared storage, actors of a Ray cluster, clips in parts."""

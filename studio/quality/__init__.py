"""Measures of finished clips: seams, drift, end frames, sync. Numpy only."""

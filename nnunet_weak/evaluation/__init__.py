"""Overlap and surface metrics of segmentations, and paired comparison of methods."""

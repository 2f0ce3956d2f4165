"""Converters from weak annotation, as people give it, to an nnU-Net raw data set."""

"""Losses of the weak training methods."""
